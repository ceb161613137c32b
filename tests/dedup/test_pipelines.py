"""The library calls inside the pipelines that people have: pyarrow, Polars, Ray Data."""

from pathlib import Path

import pytest

import gristlm as gl

ROWS = ["The quick brown fox jumps over the lazy dog.", "Write to jane@mail.example.org.", "", "Das ist ein Satz."] * 50


def test_pyarrow_a_mapped_file_larger_than_memory(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"text": pa.array(ROWS, pa.large_string())})
    with pa.OSFile(str(tmp_path / "texts.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=30)
    with pa.memory_map(str(tmp_path / "texts.arrow")) as source:
        mapped = pa.ipc.open_file(source).read_all()
        result = gl.dedup.minhash(mapped["text"], memory=1_000_000, folder=tmp_path / "work")
        kept = mapped.filter(pa.array(result.keep))["text"].to_pylist()
        del mapped
    assert kept == ROWS[:4]


def test_polars_map_batches() -> None:
    pl = pytest.importorskip("polars")

    def cleaned(column: "pl.Series") -> "pl.Series":
        return pl.Series(gl.clean(column, rules=["unicode", "personal_data"]).texts)

    frame = pl.LazyFrame({"text": ROWS}).with_columns(
        pl.col("text").map_batches(cleaned, return_dtype=pl.String).alias("clean")
    )
    assert frame.collect()["clean"].to_list()[:3] == [ROWS[0], "Write to [EMAIL].", ""]


def test_polars_map_batches_deduplicates() -> None:
    pl = pytest.importorskip("polars")

    def first_of_its_kind(column: "pl.Series") -> "pl.Series":
        equal = gl.dedup.exact(column).keep
        return pl.Series(equal & gl.dedup.minhash(column).keep)

    page = " ".join(f"word{at}" for at in range(100))
    rows = [*ROWS[:4], page, f"{page} and a bit", *ROWS[:4]]
    kept = pl.LazyFrame({"text": rows}).filter(
        pl.col("text").map_batches(first_of_its_kind, return_dtype=pl.Boolean, is_elementwise=False)
    )
    assert kept.collect()["text"].to_list() == rows[:5]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_ray_data_map_batches() -> None:
    ray = pytest.importorskip("ray")

    def signed(batch: dict[str, object]) -> dict[str, object]:
        return {**batch, "signature": gl.dedup.signatures(list(batch["text"]), num_threads=1)}  # type: ignore[call-overload]

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        data = ray.data.from_items([{"text": text} for text in ROWS])
        rows = data.map_batches(signed, batch_format="numpy").take_all()
    finally:
        ray.shutdown()
    assert [row["signature"].tolist() for row in rows] == gl.dedup.signatures(ROWS).tolist()
