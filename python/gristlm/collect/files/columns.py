"""Rows as documents by whole columns: what `rows.from_row` gives one by one, for the price of a column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from gristlm import _core
from gristlm.collect import licences
from gristlm.collect.document import UNKNOWN_LICENCE, Document, Drop, Rows
from gristlm.collect.files.reading import File
from gristlm.collect.files.rows import BAD_ROW, MAX_TITLE, from_row, language_of

if TYPE_CHECKING:
    from pyarrow import Array, RecordBatch


def documents(file: File, first: int, batch: RecordBatch) -> Iterator[Document | Drop | Rows]:
    """Yields the documents of rows `first` on, and a drop in the place of each that has none.

    Args:
        file: whose rows they are.
        first: the number of the first, from 1 on.
        batch: with the columns that `file.limits` names.
    """
    import pyarrow as pa

    column, strings = file.limits.text_column, dict[str, pa.Array]()
    try:
        for name, values in zip(batch.schema.names, batch.columns, strict=True):
            if name != column:
                values.validate(full=True)
                if "string" in str(getattr(values.type, "storage_type", values.type)).split("_"):
                    strings[name] = values
    except pa.ArrowInvalid:
        yield from one_by_one(file, first, batch)
        return
    told, count = {name: _told(strings, keys) for name, keys in file.limits.names.items()}, len(batch)
    texts = batch.column(column)
    if pa.types.is_string_view(texts.type):
        texts = texts.cast(pa.large_string())
    titles, without, tagged = _core.look_at_rows(texts, told["title"], MAX_TITLE, licences.TAG, licences.TAG_WITHIN)
    found = _each(licences.from_text, told["licence"], UNKNOWN_LICENCE, count)
    for row in tagged:
        if found[row] == UNKNOWN_LICENCE:
            found[row] = licences.from_tag(texts[row].as_py())
    plain = told["id"] is None and told["uri"] is None
    rows = Rows(
        source=file.source,
        fetched_at=file.fetched_at,
        ids=_core.numbered(f"{file.id}:row=", first, count),
        texts=texts,
        uris=_core.numbered(f"{file.uri}#row=", first, count),
        titles=titles,
        licences=found,
        languages=_each(language_of, told["language"], "", count),
        metadata=["{}"] * count if plain else _core.rows_about(told["id"], told["uri"]),
    )
    start = 0
    for row in without:
        if row > start:
            yield rows.part(start, row)
        yield from one_by_one(file, first + row, batch.slice(row, 1))
        start = row + 1
    if start < count:
        yield rows.part(start, count) if start else rows


def one_by_one(file: File, first: int, batch: RecordBatch) -> Iterator[Document | Drop]:
    """Yields the same for rows that have no common form."""
    for number in range(first, first + len(batch)):
        try:
            [row] = batch.slice(number - first, 1).to_pylist()
        except UnicodeDecodeError as error:
            yield file.drop(f"row={number}", BAD_ROW, f"{file.where}:{number}: {error}")
        else:
            yield from_row(file, number, row)


def _told(columns: Mapping[str, Array], names: tuple[str, ...]) -> Array | None:
    """Returns of each row the first string that one of the columns holds, "" where none does; None without columns."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = [columns[name] for name in names if name in columns]
    if found and found[0].type == pa.string() and not found[0].null_count:
        return found[0]
    return pc.coalesce(*(values.cast(pa.large_string()) for values in found), "") if found else None


def _each(function: Callable[[str], str], told: Array | None, otherwise: str, count: int) -> list[str]:
    """Returns what the function gives for each value; it is called once for values that are equal."""
    if told is None:
        return [otherwise] * count
    values = told.dictionary_encode()
    found = list(map(function, values.dictionary.to_pylist()))
    return [found[index] for index in values.indices.to_numpy().tolist()]
