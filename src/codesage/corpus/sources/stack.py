"""Source files as rows of Parquet: The Stack and data sets like it, from this machine or streamed from a hub.

In: a file, a folder or the name of a data set on a hub. Out: rows, batch by batch. A damaged file, or one without the
columns that are needed, is a CodesageError. The Stack v2 as published has no column of texts: they are downloaded by its
`blob_id` and added as `content` before it can be read here.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codesage.errors import CodesageError

if TYPE_CHECKING:
    import pyarrow as pa

# What data sets call what is read: The Stack first, then StarCoderData, The Stack v2, GitHub Code and their relatives.
ALIASES = {
    "content": ("content", "code"),
    "path": ("max_stars_repo_path", "path"),
    "repository": ("max_stars_repo_name", "repo_name", "repository_name"),
    "licences": ("max_stars_repo_licenses", "licenses", "license", "detected_licenses"),
    "commit": ("max_stars_repo_head_hexsha", "revision_id", "hexsha"),
}
_BATCH = 256  # rows; files are up to 1 MB


@dataclass(frozen=True, slots=True)
class Row:
    """One file of the data set; what the data set does not state is empty."""

    content: bytes
    path: str
    repository: str
    licences: tuple[str, ...]
    commit: str


def files(name: str) -> list[Path]:
    """The Parquet files of a folder, sorted, or the one file; [] when the name is that of a hub's data set."""
    root = Path(name)
    return [root] if root.is_file() else sorted(path for path in root.rglob("*.parquet") if path.is_file())


def check(name: str, columns: Mapping[str, str], *, licensed: bool) -> None:
    """Read the footer of every file, before anything else is read.

    CodesageError when a file is damaged or lacks a column, when there is no file, when no hub can be read. `columns` are
    names that go before ALIASES; `licensed` means that a column of licences is needed.
    """
    if Path(name).exists():
        for file in (found := files(name)):
            with _opened(file) as table:
                _columns(table.schema_arrow, columns, str(file), licensed)
        if not found:
            raise CodesageError(f"{name} holds no .parquet file: give a folder of Parquet, or in a recipe the name on a hub")
        return
    try:
        import datasets  # noqa: F401
    except ImportError:
        raise CodesageError(
            f"{name} is not a path here, and a hub is read with datasets: pip install 'codesage[stack]', or give a folder"
        ) from None


def rows(name: str, columns: Mapping[str, str] = {}, *, subset: str = "", licensed: bool = True) -> Iterator[Row]:
    """The rows of every file in the order of their names, or of a hub's training split (of its folder `subset`)."""
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
def _opened(file: Path):
    """The Parquet file; what is wrong with it becomes one line, also while its rows are read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if not file.stat().st_size:
            raise ValueError("it is empty")
        with pq.ParquetFile(file, page_checksum_verification=True) as table:
            yield table
    except (pa.ArrowException, OSError, ValueError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(" .")
        raise CodesageError(f"{file} is damaged or not a Parquet file ({said}): download it again or remove it") from None


def _columns(schema: "pa.Schema", given: Mapping[str, str], what: str, licensed: bool) -> dict[str, str]:
    """The column of each thing that is read, by what it is."""
    found = {}
    for role, aliases in ALIASES.items():
        names = [given[role]] if role in given else aliases
        present = [name for name in names if name in schema.names]
        if present:
            found[role] = present[0]
        elif role in given or role in ("content", "path") or (role == "licences" and licensed):
            cure = "name it under columns in a recipe"
            cure += ", or pass --any-licence (in a recipe: any_licence = true)" if role == "licences" else ""
            raise CodesageError(f"{what} has no column of {role} (expected {' or '.join(names)}, "
                                f"found {', '.join(schema.names) or 'none'}): {cure}")  # fmt: skip
    for role in ("content", "path"):
        if not _is_text(schema.field(found[role]).type):
            kind = schema.field(found[role]).type
            raise CodesageError(f"{what}: column {found[role]} holds {kind}, expected texts: name another under columns")
    return found


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(is_one(kind) for is_one in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary,
                                           pa.types.is_large_binary, pa.types.is_string_view))  # fmt: skip


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
    except Exception as error:  # whatever the hub's client says, in one line
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CodesageError(f"{name} cannot be read from a hub ({said}): check the name, the network and your access") from None


def _columns_of_row(row: dict, columns: Mapping[str, str], what: str, licensed: bool) -> dict[str, str]:
    """The columns of a stream that states no schema, from its first row."""
    import pyarrow as pa

    return _columns(pa.Table.from_pylist([row]).schema, columns, what, licensed)


def _row(row: dict, chosen: Mapping[str, str]) -> Row:
    values = {role: row[name] for role, name in chosen.items()}
    content, stated = values["content"] or b"", values.get("licences")
    return Row(
        content=content.encode("utf-8", "replace") if isinstance(content, str) else content,
        path=_text(values["path"]).lstrip("/"),
        repository=_text(values.get("repository")),
        licences=tuple(filter(None, [stated] if isinstance(stated, str) else stated or [])),
        commit=_text(values.get("commit")),
    )


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""
