"""Convert records to Parquet and back, column by column.

Rows are the records of records.py. Files have one column for each field, compressed with zstd. The size of row groups in
bytes is bounded, so that a reader needs little memory. Equal rows give equal bytes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, Field, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from codesage.errors import CodesageError
from codesage.records import sound

compute: Any = pyarrow.compute  # its functions are made at run time, where a type checker does not see them
GROUP_BYTES = 4 << 20  # of text in a row group
_TOGETHER = 1 << 18  # texts in a piece of a column; offsets have 32 bits
_FEW = ("language", "package", "version", "licence", "kind", "parent", "path", "group")  # with few values: use a dictionary
_TYPES = {int: pa.int32(), str: pa.string(), bool: pa.bool_(), tuple[int, ...]: pa.list_(pa.int32())}


def schema_of(record: type, *, without: Sequence[str] = (), **more: type) -> pa.Schema:
    """The schema of a record: its fields in order, except those in `without`, then the columns `more`."""
    named = [(field.name, _TYPES[field.type]) for field in fields(record) if field.name not in without]
    return pa.schema(named + [(name, _TYPES[kind]) for name, kind in more.items()])


def table_of(schema: pa.Schema, records: Sequence, **more: Sequence) -> pa.Table:
    """Records as a table of `schema`. A column comes from an attribute of the records, or from a list given in `more`."""
    names = [name for name in schema.names if name not in more]
    columns = dict(zip(names, zip(*map(attrgetter(*names), records), strict=True), strict=True)) if records else {}
    columns = {name: more[name] if name in more else columns.get(name, ()) for name in schema.names}
    return pa.table([_array(columns[field.name], field.type) for field in schema], schema=schema)


def _array(values: Sequence, kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([sound(value) for value in values], kind)


def strings(values: Sequence[str]) -> pa.ChunkedArray:
    """Texts as a column, made from their bytes. `pa.array` imports pandas where it is installed, which takes 0.15 s."""
    return pa.chunked_array(
        [_of_bytes(values[start : start + _TOGETHER]) for start in range(0, len(values), _TOGETHER)], pa.string()
    )


def _of_bytes(values: Sequence[str]) -> pa.Array:
    data = [value.encode("utf-8", "replace") for value in values]
    ends = np.cumsum([0, *map(len, data)]).astype(np.int32)
    return pa.Array.from_buffers(pa.string(), len(data), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(data))])


class Writer:
    """Writes one Parquet file in row groups of about GROUP_BYTES. Small tables are combined."""

    def __init__(self, path: Path, schema: pa.Schema, *, compression: str = "zstd") -> None:
        few = [name for name in schema.names if name in _FEW]
        self._writer = pq.ParquetWriter(path, schema, compression=compression, use_dictionary=few)  # pyright: ignore[reportArgumentType]
        self._waiting: list[pa.Table] = []
        self._bytes = 0

    def add(self, table: pa.Table) -> None:
        """Append the rows of `table`. A large table is split."""
        rows = max(1, len(table) * GROUP_BYTES // max(1, table.nbytes))
        for start in range(0, len(table), rows):
            part = table.slice(start, rows)
            self._waiting.append(part)
            self._bytes += table.nbytes * len(part) // len(table)
            if self._bytes >= GROUP_BYTES:
                self.flush()

    def flush(self) -> None:
        """End the current row group."""
        if self._waiting:
            table = pa.concat_tables(self._waiting)
            if len(table):
                self._writer.write_table(table, row_group_size=len(table))
            self._waiting, self._bytes = [], 0

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        if kind is None:
            self.flush()
        self._writer.close()


def records_of(table: pa.Table, record: type) -> Iterator:
    """The rows of `table` as records. Columns that are not fields of the record are ignored.

    If a column is missing because an older version did not write it, the field gets its default. CodesageError when a
    missing column has no default.
    """
    for row in zip(*(_values(table, field) for field in fields(record)), strict=True):
        yield record(*row)


def _values(table: pa.Table, field: Field) -> Sequence:
    if field.name in table.column_names:
        return table[field.name].to_pylist()
    if field.default is MISSING:
        present = ", ".join(table.column_names)
        raise CodesageError(f"a table has no column {field.name!r}, only {present}: build the corpus again")
    return [field.default] * len(table)


def read_records(paths: Iterable[Path], record: type) -> Iterator:
    """The records of Parquet files. One row group is in memory at a time."""
    for path in paths:
        with pq.ParquetFile(path) as file:
            present = [field.name for field in fields(record) if field.name in file.schema_arrow.names]
            for group in range(file.num_row_groups):
                yield from records_of(file.read_row_group(group, columns=present), record)
