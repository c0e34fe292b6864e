"""Rows of Parquet tables, the form of most data sets on hubs.

In: a file. Out: its columns, and its rows as dicts. A hub splits large tables: `test-00000-of-00002.parquet` stands for all
files of that series, and none may be missing. Needs pyarrow, which the extra `train` has.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesage.errors import CodesageError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

SUFFIX = ".parquet"
_SPLIT = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.parquet")
_BATCH = 1_000  # rows
_REASON = 200  # letters of the library's own words in a message


def files_of(file: Path) -> list[Path]:
    """The file, or all files of its series. CodesageError when one is missing."""
    split = _SPLIT.fullmatch(file.name)
    if split is None:
        return [file]
    series = [file.with_name(f"{split[1]}-{number:05}-of-{split[3]}.parquet") for number in range(int(split[3]))]
    missing = next((one for one in series if not one.is_file()), None)
    if missing is not None:
        raise CodesageError(f"{missing} is missing: the table has {len(series)} files, expected all of them")
    return series


def table_of(name: str, folder: Path) -> Path | None:
    """The table NAME.parquet in a folder, or the first file of its series; also in `data`, where hubs keep them."""
    for place in (folder, folder / "data"):
        if (file := place / f"{name}{SUFFIX}").is_file():
            return file
        series = sorted(one for one in place.glob(f"*-*-of-*{SUFFIX}") if name_of(one) == name)
        if series:
            return series[0]
    return None


def name_of(file: Path) -> str:
    """The name of a table, without its ending and the number in its series."""
    split = _SPLIT.fullmatch(file.name)
    return split[1] if split else file.stem


def columns_of(file: Path) -> list[str]:
    """The names of the columns. CodesageError when the file cannot be read."""
    with _opened(files_of(file)[0]) as table:
        return list(table.schema_arrow.names)


def rows_of(file: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a table, of `columns` or of all. CodesageError when it cannot be read."""
    for one in files_of(file):
        with _opened(one) as table:
            for batch in table.iter_batches(_BATCH, columns=columns):
                for row in batch.to_pylist():
                    yield {name: _plain(value) for name, value in row.items()}


def _plain(value: object) -> object:
    """A value as JSON has it: bytes are text, and dates and decimal numbers are the text that shows them."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return value if value is None or isinstance(value, (str, bool, int, float, list, dict)) else str(value)


@contextmanager
def _opened(file: Path) -> "Iterator[pq.ParquetFile]":
    """Open a Parquet file. Its errors, also those while rows are read, become a CodesageError of one line."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise CodesageError(f"{file} needs pyarrow, which is not installed: run pip install 'codesage[train]'") from None
    try:
        with pq.ParquetFile(file) as table:
            yield table
    except UnicodeDecodeError as error:
        raise CodesageError(f"{file} holds text that is not UTF-8 (byte {error.start:,}): expected code as text") from None
    except FileNotFoundError:
        raise CodesageError(f"{file} cannot be read (No such file or directory)") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        message = (str(error).splitlines() or [type(error).__name__])[0][:_REASON].rstrip(" .")
        raise CodesageError(f"{file} is damaged or not a Parquet file ({message}): copy it again") from None
