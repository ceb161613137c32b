"""The data card: counts by axis, diversity, and a Markdown page that hostile names do not break."""

import json
import math
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from gristlm import _core
from gristlm.collect import CollectConfig, run
from gristlm.collect.card import entropy, largest_share

pytestmark = pytest.mark.extras


def test_entropy_and_the_largest_share() -> None:
    assert entropy([5]) == 0
    assert entropy([3, 3, 3, 3]) == 2
    assert entropy([1, 3]) == pytest.approx(-(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75)), abs=1e-6)
    assert (largest_share([1, 3]), largest_share([]), entropy([])) == (0.75, 0, 0)


def test_a_card_adds_up(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x|y<b>.txt").write_text("")
    rows = [f"Page {n} tells of the river, the mill number {n} and its {n * 7} stones." for n in range(20)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    run(CollectConfig(sources=[str(tmp_path / "rows.jsonl"), str(tmp_path / "a")]), {}, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    kept = report["total"]["kept"]
    for amounts in report["by"].values():
        assert sum(each["documents"] for each in amounts.values()) == kept["documents"]
        assert sum(each["bytes"] for each in amounts.values()) == kept["bytes"]
    assert report["by"]["source"]["rows.jsonl"]["words"] > 0
    assert report["by"]["year"].keys() == {"unknown"}
    card = (tmp_path / "out" / "data_card.md").read_text()
    assert f"{kept['documents']:,} documents" in card
    assert "### empty" in card
    assert "<b>" not in card
    # No document has an address of the web, so no domain has a share.
    assert report["diversity"]["largest_share"] == {"source": 1.0, "domain": None}
    assert "| domain | none | none |" in card


def test_shares_of_domains_are_of_what_has_one(tmp_path: Path) -> None:
    rows = [{"text": f"Page {n} of the mill.", "url": f"https://{'ab'[n % 4 == 0]}.example/{n}"} for n in range(8)]
    rows += [{"text": f"A row without an address, and of some length, number {n}."} for n in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(CollectConfig(sources=[str(tmp_path / "rows.jsonl")], columns={"uri": "url"}), {}, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    print(report["by"]["domain"])
    assert report["diversity"]["largest_share"]["domain"] == pytest.approx(0.75, abs=0.01)


LETTERS = "abZÀΣςİ \t\n\x1c\x1f\x85\xa0\u1680\u2003\u200b\u2028\u3000\u6f22\U0001f600"


@given(st.lists(st.text(st.sampled_from(LETTERS))))
def test_words_are_counted_as_split_makes_them(texts: list[str]) -> None:
    array = pa.array(["before", *texts], pa.large_string())[1:]
    assert _core.count_words(array).tolist() == [len(text.split()) for text in texts]


@given(st.lists(st.text(st.sampled_from(LETTERS), max_size=200)), st.integers(0, 300))
def test_the_curve_is_that_of_lower_and_split(texts: list[str], most: int) -> None:
    words = [word for text in texts for word in text.lower().split()]
    points = [point for point in (64, 128, 256) if point <= min(most, len(words))]
    curve = [(point, len(set(words[:point]))) for point in points]
    assert _core.type_token_curve(pa.array(texts, pa.large_string()), most) == curve
