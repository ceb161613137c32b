"""What the tokenizer's rows are measured on: English, multilingual text and source code, in documents of about 4 KB.

The user's files are put with the kind that they are: source code by their name's ending, multilingual text by its share
of characters beyond ASCII, English otherwise. A kind that no file belongs to is taken from this machine: documentation
strings of the installed Python packages, their source, and words made up in ten scripts (ours, because no machine is
sure to have multilingual text; the lengths of words and how often each comes are those of a natural text).
"""

from __future__ import annotations

import ast
import itertools
import pydoc_data.topics
import random
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gristlm.bench.corpus import DOCUMENT_CHARACTERS, is_vocabulary
from gristlm.errors import InputError, MissingArtifactError
from gristlm.tokenize import text_files

KIND_BYTES = 2 << 20
CODE = (".py", ".pyi", ".rs", ".c", ".h", ".cc", ".cpp", ".go", ".java", ".js", ".ts", ".rb", ".php", ".swift", ".sql")
FOREIGN = 0.04
"""A file of whose first characters more than this share is not ASCII is multilingual."""
HEAD = 500
"""Documents of a file that are looked at for that."""
SCRIPTS = (
    (0x430, 0x450),  # Cyrillic
    (0x3B1, 0x3CA),  # Greek
    (0x627, 0x64B),  # Arabic
    (0x5D0, 0x5EB),  # Hebrew
    (0x905, 0x93A),  # Devanagari
    (0xE01, 0xE31),  # Thai
    (0xAC00, 0xD7A4),  # Hangul
    (0x3041, 0x3097),  # Hiragana
    (0x30A1, 0x30FB),  # Katakana
    (0x4E00, 0x9FA6),  # Han
)
SPACELESS = (0xE01, 0x3041, 0x30A1, 0x4E00)


@dataclass(frozen=True)
class Corpus:
    """Documents of each kind, and where they come from."""

    english: list[str]
    multilingual: list[str]
    code: list[str]
    described: str
    vocabulary: Path | None

    def training_texts(self, num_bytes: int) -> list[str]:
        """Returns documents of all kinds, and then source code of this machine, up to `num_bytes`."""
        more = (text for path in _python_files() for text in _pieces([path.read_text("utf-8", errors="replace")]))
        own = itertools.chain.from_iterable(
            itertools.zip_longest(self.english, self.multilingual, self.code, fillvalue="")
        )
        return _up_to(num_bytes, (text for text in itertools.chain(own, more) if text))


def read_corpus(files: Sequence[Path]) -> Corpus:
    """Returns the texts of `files`, from this machine where a kind has none, and a vocabulary among the files.

    Raises:
        MissingArtifactError: a file is not there.
        InputError: the files hold no text.
    """
    vocabulary = next((path for path in files if is_vocabulary(path)), None)
    given = [path for path in files if path != vocabulary]
    kinds: dict[str, list[Path]] = {"English": [], "multilingual": [], "code": []}
    for path in _walk(given):
        kinds[_kind(path)].append(path)
    found = {kind: _up_to(KIND_BYTES, _pieces(_read(paths))) for kind, paths in kinds.items()}
    if given and not any(found.values()):
        raise InputError(f"there is no text in {', '.join(str(path) for path in given)}")
    made = {
        "English": (_documentation, "the installed Python packages' documentation strings"),
        "multilingual": (_made_up, "made up"),
        "code": (_source, "the installed Python packages"),
    }
    parts = []
    for kind, (make, origin) in made.items():
        if found[kind]:
            origin = ", ".join(path.name for path in kinds[kind][:3]) + (", …" if len(kinds[kind]) > 3 else "")
        found[kind] = found[kind] or _up_to(KIND_BYTES, _pieces(make()))
        parts.append(f"{kind} {_megabytes(found[kind]):.1f} MB ({origin})")
    return Corpus(found["English"], found["multilingual"], found["code"], ", ".join(parts), vocabulary)


def _megabytes(texts: Iterable[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def _walk(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise MissingArtifactError(f"{path} does not exist")
        yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _kind(path: Path) -> str:
    if path.suffix in CODE:
        return "code"
    head = list(itertools.islice(_pieces(_read([path])), HEAD))
    foreign = sum(len(text) - len(text.encode("ascii", "ignore")) for text in head)
    return "multilingual" if foreign > FOREIGN * sum(map(len, head)) else "English"


def _read(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        if path.suffix in CODE:
            yield path.read_text("utf-8", errors="replace")
            continue
        for texts in text_files.documents(path):
            yield from (texts if isinstance(texts, list) else [str(text) for text in texts.to_pylist()])


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    """Documents of about 4 KB at most, with no blanks at the end; short ones are put together."""
    waiting = ""
    for text in texts:
        waiting = f"{waiting}\n\n{text}" if waiting else text
        while len(waiting) >= DOCUMENT_CHARACTERS:
            if piece := waiting[:DOCUMENT_CHARACTERS].rstrip():
                yield piece
            waiting = waiting[DOCUMENT_CHARACTERS:]
    if waiting.rstrip():
        yield waiting.rstrip()


def _up_to(num_bytes: int, texts: Iterable[str]) -> list[str]:
    chosen, size = [], 0
    for text in texts:
        chosen.append(text.encode("utf-8", "replace").decode())
        size += len(chosen[-1].encode())
        if size >= num_bytes:
            break
    return chosen


def _python_files() -> Iterator[Path]:
    folders = sysconfig.get_paths()
    for folder in (folders["stdlib"], folders["purelib"]):
        yield from sorted(Path(folder).rglob("*.py"))


def _source() -> Iterator[str]:
    """The source of the installed Python packages, the standard library first."""
    for path in _python_files():
        yield path.read_text("utf-8", errors="replace")


def _documentation() -> Iterator[str]:
    """The pages that `help()` shows, then the documentation strings of the installed packages."""
    yield from pydoc_data.topics.topics.values()
    for source in _source():
        try:
            with warnings.catch_warnings(action="ignore"):
                tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text and len(text) > 200 and text.isascii():
                    yield text


def _made_up() -> Iterator[str]:
    """Sentences of words made up in ten scripts, the same on every machine."""
    rng = random.Random(0)
    words, weights = {}, [1 / rank for rank in range(1, 2001)]
    for first, end in SCRIPTS:
        letters = [chr(rng.randrange(first, end)) for _ in range(600)]
        lengths = (1, 1, 2, 2, 2, 3) if first in SPACELESS else (1, 2, 3, 4, 5, 6, 7, 9)
        words[first] = ["".join(rng.choices(letters, k=rng.choice(lengths))) for _ in range(2000)]
    while True:
        first, _ = rng.choice(SCRIPTS)
        between, stops = ("", "、、。") if first in SPACELESS else (" ", (", ", ". "))
        parts = [rng.choices(words[first], weights, k=rng.randrange(2, 6)) for _ in range(100)]
        yield "".join(between.join(part) + rng.choice(stops) for part in parts) + f"{rng.randrange(10_000)}\n"
