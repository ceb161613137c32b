"""Rows taken by whole columns are what they are one by one."""

import dataclasses
import datetime
import io
import sys
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pyarrow")
import pyarrow as pa
from file_source import LIMITS, expand

from gristlm import _core
from gristlm.collect import CollectConfig, licences
from gristlm.collect.batch import Batch
from gristlm.collect.document import Document, Drop, Rows
from gristlm.collect.files import columns
from gristlm.collect.files.reading import File
from gristlm.collect.files.rows import from_row
from gristlm.errors import InputError

pytestmark = pytest.mark.extras
FILE = File(
    "a#.parquet", "src", "src/a%23.parquet", "file:///a%23.parquet", "parquet", 9, LIMITS,
    datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), io.BytesIO,
)  # fmt: skip
RENAMED = dataclasses.replace(FILE, limits=dataclasses.replace(LIMITS, columns={"title": "lang", "id": "text"}))
SPACES = "".join(chr(point) for point in range(sys.maxunicode) if chr(point).isspace() and not 0xD800 <= point < 0xE000)
TAG = "SPDX-License-Identifier: "
texts = st.one_of(
    st.text(st.one_of(st.sampled_from("\n a\x85\u3000\x1c"), st.characters(exclude_categories=("Cs",))), max_size=300),
    st.builds(
        lambda before, licence, after: before + TAG + licence + after,
        st.integers(0, 2000).map(lambda count: "é" * count),
        st.sampled_from(["MIT", "mit */", "Nobody knows", "(MIT OR Apache-2.0)\n"]),
        st.text(max_size=5).filter(str.isascii),
    ),
    st.integers(95, 105).map(lambda count: "x" * count + " \n y"),
)
told = st.one_of(
    st.none(),
    st.sampled_from(
        [
            "",
            "MIT",
            "mit",
            "en",
            "de-AT",
            "zxx",
            "no tag",
            'https://example.org/ä"\\',
            " a  title\n",
            "t" * 400,
            "\x00\x7f\t\U0001f600",
        ]
    ),
)
rows = st.lists(
    st.fixed_dictionaries(
        {"text": st.one_of(texts, st.none())},
        optional=dict.fromkeys(("title", "uri", "url", "licence", "license", "language", "lang", "id"), told),
    ),
    min_size=1,
    max_size=6,
)


@given(rows, st.sampled_from([FILE, RENAMED]), st.sampled_from([pa.string(), pa.large_string()]))
def test_by_columns_and_by_rows(rows: list[Mapping[str, str | None]], file: File, kind: pa.DataType) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    batch = pa.RecordBatch.from_pylist(rows, schema=pa.schema([(name, kind) for name in names]))
    one_by_one = [from_row(file, number, row) for number, row in enumerate(batch.to_pylist(), start=5)]
    found = list(columns.documents(file, 5, batch))
    assert not any(isinstance(each, Document) for each in found)
    assert list(expand(found)) == one_by_one
    taken, given = (Batch(CollectConfig(rules=[], num_threads=1)) for _ in range(2))
    assert sum(map(taken.add, found)) == sum(map(given.add, one_by_one))
    assert (taken.cleaned(), taken.tally.to_json()) == (given.cleaned(), given.tally.to_json())


def test_white_space_is_what_python_takes_for_it() -> None:
    for point in SPACES:
        [found] = columns.documents(FILE, 1, pa.record_batch({"text": [point]}))
        assert isinstance(found, Drop), hex(ord(point))
    others = [chr(point) for point in range(0x3100) if not chr(point).isspace()]
    [found] = columns.documents(FILE, 1, pa.record_batch({"text": others}))
    assert isinstance(found, Rows)


@pytest.mark.parametrize("kind", [pa.int64(), pa.binary(), pa.string_view(), pa.json_(), pa.list_(pa.string())])
def test_columns_of_other_kinds(kind: pa.DataType) -> None:
    values = {"int64": 3, "binary": b"MIT", "list<item: string>": ["MIT"]}
    column = pa.array([values.get(str(kind), "MIT")], getattr(kind, "storage_type", kind)).cast(kind)
    text = pa.array(["A text."]).cast(kind if kind == pa.string_view() else pa.string())
    batch = pa.record_batch({"text": text, "licence": column, "title": column})
    [found] = columns.documents(FILE, 1, batch)
    assert isinstance(found, Rows)
    assert list(found.documents()) == [from_row(FILE, 1, batch.to_pylist()[0])]


@pytest.mark.parametrize(
    "settings",
    [{"max_document_bytes": 12}, {"licences": ["mit"]}, {"licences": ["unknown", "mit"]}, {"keep_dropped": True}],
)
def test_what_is_not_wanted_goes_one_by_one(settings: dict[str, object]) -> None:
    rows = [{"text": "A short one", "licence": "MIT"}, {"text": "Longer than that one", "licence": ""}] * 3
    batch = pa.RecordBatch.from_pylist(rows)
    [found] = columns.documents(FILE, 1, batch)
    outcomes = []
    for items in ([found], [from_row(FILE, number, row) for number, row in enumerate(rows, start=1)]):
        taken = Batch(CollectConfig(num_threads=1, **settings))  # type: ignore[arg-type]
        sizes = sum(map(taken.add, items))
        outcomes.append((sizes, taken.cleaned(), taken.tally.to_json(), taken.ledger.table()))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("column", ["text", "title", "note"])
def test_what_is_not_utf8_costs_its_row(column: str) -> None:
    words = [f"row {number} of many".encode() for number in range(20)]
    words[7] = b"caf\xe9"
    bad = pa.Array.from_buffers(pa.string(), len(words), pa.array(words, pa.binary()).buffers())
    batch = pa.record_batch({"text": pa.array([f"Text {number}" for number in range(20)])} | {column: bad})
    found = list(columns.documents(FILE, 1, batch))
    [(at, drop)] = [(at, each) for at, each in enumerate(expand(found)) if isinstance(each, Drop)]
    assert (at, drop.reason, drop.uri.rpartition("=")[2]) == (7, "bad row", "8")
    assert sum(isinstance(each, Rows) for each in found) == (2 if column == "text" else 0)


def test_of_two_columns_of_one_name_the_last_is_taken() -> None:
    batch = pa.RecordBatch.from_arrays(
        [pa.array(["A text"] * 2), pa.array(["a", "b"]), pa.array(["c", "d"])], ["text", "id", "id"]
    )
    [found] = columns.documents(FILE, 1, batch)
    assert isinstance(found, Rows)
    assert list(found.documents()) == [from_row(FILE, number, row) for number, row in enumerate(batch.to_pylist(), 1)]


def test_other_arrays_are_refused() -> None:
    with pytest.raises(InputError, match="an Arrow array of Int64; give string or large_string"):
        _core.look_at_rows(pa.array([3]), None, 100, licences.TAG, 2000)
    assert _core.look_at_rows(pa.array([], pa.string()), None, 100, licences.TAG, 2000) == ([], [], [])
    assert _core.look_at_rows(pa.array(["x", "a", None, " b "]).slice(1), None, 100, "b", 1) == (
        ["a", "", "b"],
        [1],
        [2],
    )
