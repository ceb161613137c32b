"""What is kept does not depend on how the corpus was put together: parts in any order give the same documents."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
import pyarrow as pa
import pyarrow.parquet as pq

from gristlm.collect import CollectConfig, run

pytestmark = pytest.mark.extras


def corpus() -> list[str]:
    """Families of texts each near to the next, so that which stays first decides how many stay; and copies."""
    texts = []
    for family in range(20):
        words = [f"w{family}x{n}" for n in range(400)]
        chain = [" ".join(words[start : start + 200]) for start in range(0, 200, 12)]
        texts += [*chain, chain[3]]
    random.Random(3).shuffle(texts)
    return texts


def collected(sources: list[Path], output: Path, **settings: object) -> tuple[dict[str, str], set[tuple[str, ...]]]:
    """Returns the kept texts by id, and every drop with its twin."""
    given = {"heldout_fraction": 0.2, "keep_dropped": True, **settings}
    run(CollectConfig(sources=[str(path) for path in sources], **given), {}, output)  # type: ignore[arg-type]
    kept = pa.concat_tables([pq.read_table(path) for path in output.glob("[th]*.parquet")])
    drops = pq.read_table(output / "dropped-00000.parquet").select(["id", "text", "reason", "twin"])
    return dict(zip(kept["id"].to_pylist(), kept["text"].to_pylist(), strict=True)), {
        tuple(map(str, row.values())) for row in drops.to_pylist()
    }


def written(path: Path, texts: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path.parent


@pytest.mark.parametrize(
    "settings", [{}, {"repeated_bytes": 40, "near_duplicate_threshold": None}, {"repeated_units": "line"}]
)
def test_parts_in_any_order_give_the_same_documents(tmp_path: Path, settings: dict[str, object]) -> None:
    texts = corpus()
    parts = [written(tmp_path / name / "rows.jsonl", texts[n::3]) for n, name in enumerate("abc")]
    wanted = collected(parts, tmp_path / "out", **settings)
    assert wanted[1]
    for number, order in enumerate(itertools.permutations(parts)):
        assert collected(list(order), tmp_path / f"out{number}", **settings) == wanted


def test_shards_merged_in_any_order_give_the_same_documents(tmp_path: Path) -> None:
    texts = corpus()
    for number in range(6):
        written(tmp_path / "in" / f"{number}.jsonl", texts[number::6])
    shards = []
    for shard in ("0/2", "1/2"):
        shards.append(tmp_path / f"shard{len(shards)}")
        collected([tmp_path / "in"], shards[-1], shard=shard)
    first, second = (
        collected(order, tmp_path / f"merged{number}")[0] for number, order in enumerate((shards, shards[::-1]))
    )
    assert first == second


def test_passages_that_stood_before_are_cut_once(tmp_path: Path) -> None:
    notice = "This notice stands at the foot of each and every page of the whole site, word for word. "
    texts = [f"Page {n} says {n * 7919} things of its own. {notice}" for n in range(9)]
    source = written(tmp_path / "in" / "rows.jsonl", [*texts, notice.strip()])
    kept, drops = collected([source], tmp_path / "out", repeated_bytes=60, near_duplicate_threshold=None)
    assert ("in/rows.jsonl:row=10", notice.strip(), "repeated passages", "None") in drops
    assert len(kept) == 9
    assert [name for name, text in kept.items() if "word for word" in text] == ["in/rows.jsonl:row=1"]
    assert {text.split(" things")[0] for text in kept.values()} == {f"Page {n} says {n * 7919}" for n in range(9)}
    total = json.loads((tmp_path / "out/report.json").read_text())["total"]
    assert total["changes"]["repeated_bytes"] == 8
    assert total["kept"]["bytes"] == sum(len(text.encode()) for text in kept.values())


def test_paragraphs_and_lines_that_stood_before_are_cut_once_from_prose(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        page = f"Page {number} says {number * 7919} things.\nRead more\n\nAll rights reserved."
        (tmp_path / f"in/{number}.txt").write_text(page)
        (tmp_path / f"in/{number}.py").write_text(f"def f{number}():\n    return {number}\n\n\nRead = more\n")
    for unit, left in (("line", "Page 1 says 7919 things."), ("paragraph", "Page 1 says 7919 things.\nRead more")):
        kept, _ = collected([tmp_path / "in"], tmp_path / unit, repeated_units=unit, near_duplicate_threshold=None)
        assert kept["in/0.txt"].endswith("things.\nRead more\n\nAll rights reserved.")
        assert kept["in/1.txt"].rstrip() == left
        assert kept["in/2.py"].endswith("Read = more")
        changes = json.loads((tmp_path / unit / "report.json").read_text())["total"]["changes"]
        assert changes["repeated_units"] == (4 if unit == "line" else 2)
    with pytest.raises(ValueError, match="repeated_bytes and repeated_units"):
        CollectConfig(sources=["x"], repeated_bytes=50, repeated_units="line")
