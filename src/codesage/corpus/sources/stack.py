"""Rows in the layout of The Stack (dedup): from a local folder of Parquet, or streamed from a hub.

In: a folder or the name of a data set. Out: rows, batch by batch, and a Skipped for a file that cannot be read on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codesage.errors import CodesageError
from codesage.walk import Skipped

COLUMNS = ("content", "max_stars_repo_path", "max_stars_repo_name", "max_stars_repo_licenses", "max_stars_repo_head_hexsha")
_NEEDED = COLUMNS[:4]
_BATCH = 256  # rows; files are up to 1 MB


@dataclass(frozen=True, slots=True)
class Row:
    """One file of the data set."""

    content: str
    path: str
    repository: str
    licences: tuple[str, ...]
    commit: str  # "" when the data set has none


def check(name: str) -> None:
    """CodesageError when `name` is neither a folder with Parquet files of this layout nor readable from a hub."""
    if Path(name).exists():
        files = _files(name)
        if not files:
            raise CodesageError(f"{name} holds no .parquet file: give a folder of The Stack (dedup), or a hub name")
        return
    try:
        import datasets  # noqa: F401
    except ImportError:
        raise CodesageError(
            f"{name} is no folder here, and a hub is read with datasets: pip install 'codesage[stack]', or give a folder"
        ) from None


def rows(name: str) -> Iterator[Row | Skipped]:
    """The rows of every file in the order of their names, or of a hub's training split."""
    check(name)
    if not Path(name).exists():
        yield from _hub_rows(name)
        return
    for file in _files(name):
        shown = file.relative_to(name).as_posix() if Path(name).is_dir() else file.name
        yield from _file_rows(file, shown)


def _files(name: str) -> list[Path]:
    root = Path(name)
    return [root] if root.is_file() else sorted(p for p in root.rglob("*.parquet") if p.is_file())


def _file_rows(file: Path, shown: str) -> Iterator[Row | Skipped]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            columns = [column for column in (*COLUMNS, "hexsha") if column in table.schema_arrow.names]
            if not set(_NEEDED) <= set(columns):
                yield Skipped(shown, "no columns of The Stack")
                return
            for batch in table.iter_batches(batch_size=_BATCH, columns=columns):
                yield from (_row(row) for row in batch.to_pylist())
    except (pa.ArrowException, OSError, ValueError):
        yield Skipped(shown, "unreadable")


def _hub_rows(name: str) -> Iterator[Row]:
    import datasets

    try:
        stream = datasets.load_dataset(name, split="train", streaming=True)
        if not set(_NEEDED) <= set(stream.column_names or _NEEDED):
            raise CodesageError(f"{name} has no columns {', '.join(_NEEDED)}: expected the layout of The Stack (dedup)")
        yield from map(_row, stream)
    except CodesageError:
        raise
    except Exception as error:  # whatever the hub's client says, in one line
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CodesageError(f"{name} cannot be read from a hub ({said}): check the name, the network and your access") from None


def _row(row: dict) -> Row:
    stated = row["max_stars_repo_licenses"]
    return Row(
        content=row["content"] or "",
        path=row["max_stars_repo_path"] or "",
        repository=row["max_stars_repo_name"] or "",
        licences=tuple(filter(None, [stated] if isinstance(stated, str) else stated or [])),
        commit=row.get("max_stars_repo_head_hexsha") or row.get("hexsha") or "",
    )
