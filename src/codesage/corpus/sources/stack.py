"""Read source files stored as rows of Parquet (The Stack and similar data sets), from local files or streamed from a hub.

In: a file, a folder or the name of a data set on a hub. Out: rows, batch by batch. A file that is damaged or lacks a needed
column is a CodesageError. The published Stack v2 has no column of texts. Before it can be read here, its texts must be
downloaded by `blob_id` and added as a column `content`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codesage.errors import CodesageError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# Names of the columns in known data sets: The Stack, then StarCoderData, The Stack v2, GitHub Code and similar ones.
ALIASES = {
    "content": ("content", "code"),
    "path": ("max_stars_repo_path", "path"),
    "repository": ("max_stars_repo_name", "repo_name", "repository_name"),
    "licences": ("max_stars_repo_licenses", "licenses", "license", "detected_licenses"),
    "commit": ("max_stars_repo_head_hexsha", "revision_id", "hexsha"),
}
_BATCH = 256  # rows; each holds a file of up to 1 MB


@dataclass(frozen=True, slots=True)
class Row:
    """One file of the data set. Fields that the data set does not have are empty."""

    content: bytes
    path: str
    repository: str
    licences: tuple[str, ...]
    commit: str


def files(name: str) -> list[Path]:
    """The Parquet files of a folder, sorted, or a single file; [] when `name` is a data set on a hub."""
    root = Path(name)
    return [root] if root.is_file() else sorted(path for path in root.rglob("*.parquet") if path.is_file())


def check(name: str, columns: Mapping[str, str], *, licensed: bool) -> None:
    """Check the footer of every file, before anything else is read.

    CodesageError when a file is damaged or lacks a column, when there is no file, or when a hub cannot be read. Names in
    `columns` have priority over ALIASES. `licensed` means that a column of licences is needed.
    """
    if Path(name).exists():
        for file in (parquet_files := files(name)):
            with _opened(file) as table:
                _columns(table.schema_arrow, columns, str(file), licensed)
        if not parquet_files:
            raise CodesageError(f"{name} has no .parquet file: give a folder with some, or a recipe with a data set on a hub")
        return
    try:
        import datasets  # noqa: F401
    except ImportError:
        raise CodesageError(
            f"{name} does not exist here, and a hub needs datasets: run pip install 'codesage[stack]', or give a folder"
        ) from None


def rows(name: str, columns: Mapping[str, str] = {}, *, subset: str = "", licensed: bool = True) -> Iterator[Row]:
    """The rows of every file, sorted by name, or of the training split of a data set on a hub (of its folder `subset`)."""
    check(name, columns, licensed=licensed)
    if not Path(name).exists():
        yield from _hub_rows(name, columns, subset=subset, licensed=licensed)
        return
    for file in files(name):
        with _opened(file) as table:
            chosen = _columns(table.schema_arrow, columns, str(file), licensed)
            for batch in table.iter_batches(batch_size=_BATCH, columns=list(chosen.values())):
                yield from (_row(row, chosen) for row in batch.to_pylist())


@contextmanager
def _opened(file: Path) -> Iterator["pq.ParquetFile"]:
    """Open the Parquet file. Its errors, also those while rows are read, become a CodesageError of one line."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if not file.stat().st_size:
            raise ValueError("it is empty")
        with pq.ParquetFile(file, page_checksum_verification=True) as table:
            yield table
    except (pa.ArrowException, OSError, ValueError) as error:
        message = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(" .")
        raise CodesageError(f"{file} is damaged or not a Parquet file ({message}): download it again or remove it") from None


def _columns(schema: "pa.Schema", given: Mapping[str, str], what: str, licensed: bool) -> dict[str, str]:
    """The name of the column for each role in ALIASES that the file has."""
    columns = {}
    for role, aliases in ALIASES.items():
        names = [given[role]] if role in given else aliases
        present = [name for name in names if name in schema.names]
        if present:
            columns[role] = present[0]
        elif role in given or role in ("content", "path") or (role == "licences" and licensed):
            cure = "name it under columns in a recipe"
            cure += ", or pass --any-licence (in a recipe: any_licence = true)" if role == "licences" else ""
            raise CodesageError(
                f"{what} has no column of {role} (expected {' or '.join(names)}, "
                f"found {', '.join(schema.names) or 'none'}): {cure}"
            )
    for role, column in columns.items():
        _check_column(schema, role, column, what)
    return columns


def _check_column(schema: "pa.Schema", role: str, column: str, what: str) -> None:
    """CodesageError when the column of a role is there twice, or holds no text (for licences: neither text nor lists of it)."""
    if schema.names.count(column) > 1:
        raise CodesageError(
            f"{what} has {schema.names.count(column)} columns {column}: rename one, or name another under columns"
        )
    kind = schema.field(column).type
    if not _holds_text(kind, role):
        raise CodesageError(f"{what}: column {column} holds {kind}, expected text: name another under columns")


def _holds_text(kind: "pa.DataType", role: str) -> bool:
    import pyarrow as pa

    if role == "licences" and (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        kind = kind.value_type
    return _is_text(kind) or (role not in ("content", "path") and pa.types.is_null(kind))


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(
        is_one(kind)
        for is_one in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_string_view,
        )
    )


def _hub_rows(name: str, columns: Mapping[str, str] = {}, *, subset: str = "", licensed: bool = True) -> Iterator[Row]:
    import datasets

    try:
        stream = datasets.load_dataset(name, data_dir=subset or None, split="train", streaming=True)
        chosen = _columns(stream.features.arrow_schema, columns, name, licensed) if stream.features else {}
        for row in stream:
            if not chosen:
                chosen = _columns_of_row(row, columns, name, licensed)
            yield _row(row, chosen)
    except CodesageError:
        raise
    except Exception as error:  # turn any error of the hub's client into one line
        message = (str(error).splitlines() or [type(error).__name__])[0][:200]
        cure = "check the name, the network and your access"
        raise CodesageError(f"{name} cannot be read from a hub ({message}): {cure}") from None


def _columns_of_row(row: dict, columns: Mapping[str, str], what: str, licensed: bool) -> dict[str, str]:
    """The columns of a stream without a schema, found from its first row."""
    import pyarrow as pa

    return _columns(pa.Table.from_pylist([row]).schema, columns, what, licensed)


def _row(row: dict, chosen: Mapping[str, str]) -> Row:
    values = {role: row[name] for role, name in chosen.items()}
    content, stated = values["content"] or b"", values.get("licences")
    listed = stated if isinstance(stated, list) else [stated]
    return Row(
        content=content.encode("utf-8", "replace") if isinstance(content, str) else content,
        path=_text(values["path"]).lstrip("/"),
        repository=_text(values.get("repository")),
        licences=tuple(filter(None, map(_text, listed))),
        commit=_text(values.get("commit")),
    )


def _text(value: object) -> str:
    """The text in a cell. A stream of a hub without a schema may hold anything."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)
