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
from file_source import LIMITS

from gristlm.collect import CollectConfig
from gristlm.collect.batch import Batch
from gristlm.collect.document import Document, Drop
from gristlm.collect.files import columns
from gristlm.collect.files.reading import File
from gristlm.collect.files.rows import from_row

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
        ["", "MIT", "mit", "en", "de-AT", "zxx", "no tag", 'https://example.org/ä"\\', " a  title\n", "t" * 400]
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


def table(file: File, found: list[Document]) -> tuple[pa.Table, dict[str, object]]:
    """What a batch makes of documents that are read one by one."""
    batch = Batch(CollectConfig(rules=[], num_threads=1))
    for document in found:
        batch.add(document)
    return batch.cleaned(), batch.tally.to_json()


@given(rows, st.sampled_from([FILE, RENAMED]), st.sampled_from([pa.string(), pa.large_string()]))
def test_by_columns_and_by_rows(rows: list[Mapping[str, str | None]], file: File, kind: pa.DataType) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    batch = pa.RecordBatch.from_pylist(rows, schema=pa.schema([(name, kind) for name in names]))
    one_by_one = [from_row(file, number, row) for number, row in enumerate(batch.to_pylist(), start=5)]
    found = columns.documents(file, 5, batch)
    assert (found is None) == any(isinstance(each, Drop) for each in one_by_one)
    if found is None:
        return
    taken = Batch(CollectConfig(rules=[], num_threads=1))
    size = taken.add(found)
    given, tally = table(file, [each for each in one_by_one if isinstance(each, Document)])
    assert size == sum(len(each.text.encode()) for each in one_by_one if isinstance(each, Document))
    assert (taken.cleaned(), taken.tally.to_json()) == (given, tally)
    assert table(file, list(found.documents())) == (given, tally)


def test_white_space_is_what_python_takes_for_it() -> None:
    for point in SPACES:
        assert columns.documents(FILE, 1, pa.record_batch({"text": [point]})) is None, hex(ord(point))
    others = [chr(point) for point in range(0x3100) if not chr(point).isspace()]
    assert columns.documents(FILE, 1, pa.record_batch({"text": others})) is not None


@pytest.mark.parametrize("kind", [pa.int64(), pa.binary(), pa.string_view(), pa.json_(), pa.list_(pa.string())])
def test_columns_of_other_kinds(kind: pa.DataType) -> None:
    values = {"int64": 3, "binary": b"MIT", "list<item: string>": ["MIT"]}
    column = pa.array([values.get(str(kind), "MIT")], getattr(kind, "storage_type", kind)).cast(kind)
    text = pa.array(["A text."]).cast(kind if kind == pa.string_view() else pa.string())
    batch = pa.record_batch({"text": text, "licence": column, "title": column})
    found = columns.documents(FILE, 1, batch)
    assert found is not None
    assert list(found.documents()) == [from_row(FILE, 1, batch.to_pylist()[0])]


@pytest.mark.parametrize(
    "settings",
    [{"max_document_bytes": 12}, {"licences": ["mit"]}, {"licences": ["unknown", "mit"]}, {"keep_dropped": True}],
)
def test_what_is_not_wanted_goes_one_by_one(settings: dict[str, object]) -> None:
    rows = [{"text": "A short one", "licence": "MIT"}, {"text": "Longer than that one", "licence": ""}] * 3
    batch = pa.RecordBatch.from_pylist(rows)
    found = columns.documents(FILE, 1, batch)
    assert found is not None
    outcomes = []
    for items in ([found], [from_row(FILE, number, row) for number, row in enumerate(rows, start=1)]):
        taken = Batch(CollectConfig(num_threads=1, **settings))  # type: ignore[arg-type]
        sizes = sum(map(taken.add, items))
        outcomes.append((sizes, taken.cleaned(), taken.tally.to_json(), taken.ledger.table()))
    assert outcomes[0] == outcomes[1]
