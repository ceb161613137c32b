"""The bench of cleaning and deduplication: its corpora are as similar as they say, its definitions agree with us."""

import gettext
import io
import struct
from pathlib import Path

import pytest

from gristlm import dedup
from gristlm.bench import data, data_cleaning, duplicates, language_peers, language_texts
from gristlm.bench.frame import OURS, BenchTable, Row
from gristlm.errors import InputError

TEXTS = [
    "The river bends.\nIts bank is worn.\n",
    "A line.\n\nIts bank is worn.",
    "A line.\nx",
    "The river bends.\n",
] * 3


def test_made_pairs_have_the_similarity_that_they_say() -> None:
    corpora = duplicates.exact_similarities(20)
    assert list(corpora) == [0.0, 0.7, 0.75, 0.8, 0.85]
    for floor, known in corpora.items():
        for copy, original, similar in known.pairs:
            assert original < copy
            assert duplicates.similarity(known.texts[copy], known.texts[original]) == pytest.approx(similar)
            assert similar >= floor
    assert duplicates.exact_similarities(20)[0.7] == corpora[0.7]


def test_the_definitions_in_python_are_ours() -> None:
    assert data_cleaning.unique_documents(TEXTS) == dedup.exact(TEXTS).keep.tolist()
    assert data_cleaning.unique_lines(TEXTS) == dedup.cut(TEXTS, dedup.exact(TEXTS, unit="line"))
    found = dedup.contamination(TEXTS, ["the RIVER, bends"], ngram=3).contaminated
    assert data_cleaning.contaminated(TEXTS, ["the RIVER, bends"], ngram=3) == found.nonzero()[0].tolist()


def test_recall_is_held_to_the_floors() -> None:
    table = BenchTable.begin("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "PAIRS", 400)
        data.recall(table, {"nobody": lambda texts: set()})
        rows = {(row.task, row.library): row for row in table.rows}
        assert rows["precision", OURS].figure == 100
        assert rows["pairs of similarity 0.881 found", OURS].figure > 98
        assert rows["pairs of similarity 0.881 found", "nobody"].figure == 0
        patch.setattr(data, "FLOORS", {0.7: 0.99})
        with pytest.raises(AssertionError, match=r"similarity 0\.717 found: 0\.\d+, under the floor of 0\.99"):
            data.recall(table, {})
    with pytest.raises(InputError, match="peers has 'nosuch'"):
        data.measure(table, TEXTS, None, ["nosuch"])


def test_units_of_the_table() -> None:
    def row(unit: str) -> Row:
        return Row("t", "l", 2.0, 0.5, 0.5, 1.0, "", unit, calls=100)  # type: ignore[arg-type]

    assert [row(unit).figure for unit in ("docs/s", "µs/doc", "%", "MB/s")] == [200, 5000, 50, 4]


def test_messages_of_catalogues_are_texts_with_a_language(tmp_path: Path) -> None:
    folder = tmp_path / "pt_BR" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    messages = {
        f"message {at}": f"Esta é a mensagem %(name)s número {at} do <b>programa</b> inteiro" for at in range(40)
    }
    (folder / "x.mo").write_bytes(_catalogue(messages))
    (folder / "torn.mo").write_bytes(b"\xde\x12\x04\x95torn")
    texts = language_texts.read([tmp_path], per_language=30)
    assert list(texts) == ["pt"]
    assert len(texts["pt"]) == 30
    assert texts["pt"][0] == "Esta é a mensagem número 0 do programa inteiro"
    scored = language_peers.score([("pt", text) for text in texts["pt"]], language_peers.ours(texts["pt"]))
    assert scored.share(["pt"]) == 1
    assert scored.known == ["pt"]


def _catalogue(messages: dict[str, str]) -> bytes:
    """A `.mo` file of `messages`."""
    rows = sorted({"": "Content-Type: text/plain; charset=UTF-8\n", **messages}.items())
    head = 28 + 16 * len(rows)
    index, body = [[], []], b""
    for side in (0, 1):
        for row in rows:
            data_ = row[side].encode()
            index[side].append(struct.pack("<II", len(data_), head + len(body)))
            body += data_ + b"\0"
    out = struct.pack("<7I", 0x950412DE, 0, len(rows), 28, 28 + 8 * len(rows), 0, head)
    made = out + b"".join(index[0]) + b"".join(index[1]) + body
    assert gettext.GNUTranslations(io.BytesIO(made))
    return made
