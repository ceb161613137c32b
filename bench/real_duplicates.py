"""Near duplicates among real documents, every similarity known: recall, precision and CPU seconds beside the peers.

`python bench/real_duplicates.py FOLDER` takes the texts of a document artifact (`gristlm collect`), cut at paragraphs
into documents of 60 to 400 words, and adds copies of some, each with a run of words from elsewhere put in, so that its
Jaccard similarity of word 5-grams lies in a known bin. Which documents resemble which, the natural ones included, is
found exactly (a join by prefix filtering: Bayardo, Ma and Srikant, 2007, section 3.3), so a drop is right or wrong
without doubt. All libraries take 14 bands of 8 of 112 permutations, on one thread.
"""

from __future__ import annotations

import argparse
import importlib
import math
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gristlm import dedup
from gristlm.bench import duplicate_peers, duplicates
from gristlm.tokenize import text_files

BINS = (0.60, 0.70, 0.75, 0.80, 0.85)
WIDTH = 0.05
THRESHOLD = 0.7
MIN_WORDS, MAX_WORDS = 60, 400
SPACELESS = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u31f0-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Thai, Lao, Burmese, Khmer, Chinese and Japanese: there a token of ours is a character, while the peers split at white
space."""
BANDS, ROWS = 14, 8


def texts_of(folder: Path) -> Iterator[str]:
    """Yields the texts of an artifact."""
    for file in sorted(folder.glob("*.parquet")):
        for texts in text_files.documents(file):
            yield from (texts if isinstance(texts, list) else [str(text) for text in texts.to_pylist()])


def documents(folder: Path, count: int, seed: int) -> list[str]:
    """Returns `count` documents of `MIN_WORDS` to `MAX_WORDS` words, in random order."""
    found = list[str]()
    for text in texts_of(folder):
        piece, words = list[str](), 0
        for paragraph in [*text.split("\n\n"), ""]:
            size = len(paragraph.split())
            if piece and (not paragraph or words + size > MAX_WORDS):
                document = "\n\n".join(piece)
                if MIN_WORDS <= words <= MAX_WORDS and not SPACELESS.search(document):
                    found.append(document)
                piece, words = [], 0
            piece.append(paragraph)
            words += size
    if len(found) < count:
        raise SystemExit(f"{folder} has {len(found):,} documents of {MIN_WORDS} to {MAX_WORDS} words; {count:,} wanted")
    return random.Random(seed).sample(found, count)


def alike(texts: Sequence[str], least: float) -> list[tuple[int, int, float]]:
    """Returns every pair (later, earlier, similarity) of at least `least`, exactly."""
    numbers: dict[tuple[str, ...], int] = {}
    sets = [{numbers.setdefault(run, len(numbers)) for run in duplicates.shingles(text)} for text in texts]
    times = Counter(number for each in sets for number in each)
    postings: dict[int, list[int]] = defaultdict(list)
    pairs = list[tuple[int, int, float]]()
    for later, own in enumerate(sets):
        prefix = sorted(own, key=lambda number: (times[number], number))[: len(own) - math.ceil(least * len(own)) + 1]
        for earlier in sorted({other for number in prefix for other in postings[number]}):
            other = sets[earlier]
            if min(len(own), len(other)) < least * max(len(own), len(other)):
                continue
            common = len(own & other)
            if common >= least * (len(own) + len(other) - common):
                pairs.append((later, earlier, common / (len(own) + len(other) - common)))
        for number in prefix:
            postings[number].append(later)
    return pairs


def copies(texts: Sequence[str], unlike: Sequence[int], count: int, seed: int) -> list[tuple[str, float, float]]:
    """Returns (copy, bin, similarity to its original), as many of each bin; the originals are among `unlike`."""
    rng = random.Random(seed)
    made = list[tuple[str, float, float]]()
    originals = iter(rng.sample(list(unlike), len(unlike)))
    while len(made) < count:
        original, least = next(originals), BINS[len(made) % len(BINS)]
        words, other = texts[original].split(" "), texts[rng.choice(unlike)].split(" ")
        target, runs = least + WIDTH / 2, len(duplicates.shingles(texts[original]))
        changed = round(runs * (1 - target) / (1 + target)) - duplicates.NGRAM + 1
        if changed < 1 or changed > min(len(words), len(other)):
            continue
        at, start = rng.randrange(len(words) - changed + 1), rng.randrange(len(other) - changed + 1)
        copy = " ".join([*words[:at], *other[start : start + changed], *words[at + changed :]])
        similar = duplicates.similarity(copy, texts[original])
        if least <= similar < least + WIDTH:
            made.append((copy, least, similar))
    return made


def main() -> None:
    """Makes the corpus, runs every library, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a document artifact")
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--copies", type=int, default=10_300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", nargs="*", choices=list(duplicate_peers.FINDERS), help="default: all that are here")
    given = parser.parse_args()
    texts = documents(given.folder, given.documents, given.seed)
    natural = alike(texts, BINS[0])
    alone = sorted(set(range(len(texts))) - {at for later, earlier, _ in natural for at in (later, earlier)})
    made = copies(texts, alone, given.copies, given.seed)
    everything = [*texts, *(copy for copy, _, _ in made)]
    similar = dict[int, float]()
    for later, _, value in alike(everything, THRESHOLD):
        similar[later] = max(similar.get(later, 0.0), value)
    size = sum(len(text.encode()) for text in everything)
    print(
        f"{len(texts):,} documents, {len(made):,} copies, {size / 1e6:.1f} MB; {len(similar):,} resemble an earlier one"
    )
    finders: dict[str, Callable[[list[str]], set[int]]] = {"gristlm": ours}
    for name in duplicate_peers.FINDERS if given.peers is None else given.peers:
        try:
            finders[name] = duplicate_peers.finder(name, importlib.import_module(name))
        except ImportError:
            print(f"{name}: not installed")
    head = "".join(f"{f'{least:.2f}':>8}" for least in BINS[1:])
    print(f"{'':12}{'CPU s':>8}{'MB/s':>8}{'ratio':>8}{'dropped':>9}{'wrong':>7}{'precision':>11}  recall{head}")
    bins = {least: [(at, each[2]) for at, each in enumerate(made) if each[1] == least] for least in BINS[1:]}
    expected = {
        least: sum(1 - (1 - similar**ROWS) ** BANDS for _, similar in those) / len(those)
        for least, those in bins.items()
    }
    print(f"{'in theory':71}" + "".join(f"{share:8.3f}" for share in expected.values()))
    first = 0.0
    for name, find in finders.items():
        started = time.process_time()
        found = find(everything)
        seconds = time.process_time() - started
        first = first or seconds
        wrong = len(found - similar.keys())
        precision = 1 - wrong / max(len(found), 1)
        shares = {least: sum(len(texts) + at in found for at, _ in those) / len(those) for least, those in bins.items()}
        line = "".join(f"{share:8.3f}" for share in shares.values())
        figures = (
            f"{seconds:8.2f}{size / 1e6 / seconds:8.1f}{seconds / first:8.1f}{len(found):9,}{wrong:7}{precision:11.4f}"
        )
        print(f"{name:12}{figures}        {line}", flush=True)
        if name == "gristlm":
            assert not wrong, f"{wrong} drops were wrong"
            for least, share in expected.items():  # which are found is a matter of chance
                error = (share * (1 - share) / len(bins[least])) ** 0.5
                assert abs(shares[least] - share) <= 3 * error + 1e-3, (least, shares[least], share)


def ours(texts: list[str]) -> set[int]:
    """Returns what is dropped after verification."""
    found = dedup.minhash(texts, threshold=THRESHOLD, num_threads=1)
    return set((~found.keep).nonzero()[0].tolist())


if __name__ == "__main__":
    main()
