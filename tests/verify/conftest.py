"""Punkt's parameters, trained here, because NLTK's own are not carried."""

import sys
from pathlib import Path

import pytest

from gristlm.verify.punkt import FILES


@pytest.fixture(scope="module")
def english() -> str:
    """Text with abbreviations that every Python has: the licence and the docstrings of its modules."""
    words = [Path(sys.modules["re"].__file__ or "").read_text()]
    for name in ("argparse", "datetime", "decimal", "doctest", "pickletools", "subprocess", "typing", "unittest.mock"):
        module = __import__(name, fromlist=["_"])
        words.append(Path(module.__file__ or "").read_text())
    return "\n".join(words)


@pytest.fixture(scope="module")
def trained(english: str, tmp_path_factory: pytest.TempPathFactory):
    """NLTK's tokenizer, and the folder with its parameters as `punkt_tab` lays them out."""
    punkt = pytest.importorskip("nltk.tokenize.punkt")
    trainer = punkt.PunktTrainer(english)
    parameters = trainer.get_params()
    folder = tmp_path_factory.mktemp("punkt")
    parameters.abbrev_types |= {"mr", "dr", "e.g", "i.e", "u.s", "st", "a.m", "no"}
    parameters.collocations |= {("##number##", "wait"), ("j", "s"), ("p", "##number##")}
    parameters.sent_starters |= {"the", "however,", "but"}
    tables = (
        sorted(parameters.abbrev_types),
        ["\t".join(pair) for pair in sorted(parameters.collocations)],
        sorted(parameters.sent_starters),
        [f"{word}\t{bits}" for word, bits in sorted(parameters.ortho_context.items())],
    )
    for name, lines in zip(FILES, tables, strict=True):
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return punkt.PunktSentenceTokenizer(parameters), folder
