"""The rows of `gristlm bench data` under pytest-benchmark; recall and precision on known duplicates first."""

from gristlm.bench import data
from gristlm.bench.corpus import read_texts
from gristlm.bench.frame import OURS, BenchTable


def test_the_whole_table(benchmark) -> None:
    texts = read_texts(())[0]
    table = BenchTable.begin("data", "the standard library")
    benchmark.pedantic(data.measure, args=(table, texts, None, None), rounds=1)
    benchmark.extra_info["ratios"] = {
        f"{row.task}: {row.library}": row.ratio for row in table.rows if row.library != OURS
    }
    assert table.rows
