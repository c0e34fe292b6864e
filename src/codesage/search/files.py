"""Read the files that search indexes: those of a corpus, and files that can only be read in part.

In: a root. Out: its files, each with its text or the reason why it is not read. Some files that a corpus skips are read in
part: undecodable bytes are replaced, overlong lines are left empty, and only the first megabyte of a large file is read. Line
numbers stay the same. Notebooks are read without outputs.
"""

import codecs
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from codesage.errors import CodesageError
from codesage.languages import language_named, searched_language
from codesage.records import Document
from codesage.search import notebooks
from codesage.search.database import DATABASE, FILES, LOCK
from codesage.search.kinds import content_of, kind_of, order_of
from codesage.search.secrets import holds_secret
from codesage.walk import MAX_BYTES, MAX_LINE, Skipped, Text, is_utf16, name_of, read_text, text_of, walk, with_line_feeds

File = tuple[Path, str, str]  # where it is, its name in the index, its stamp
IGNORE_FILE = ".codesageignore"
IN_PART = ", indexed in part"  # the end of a reason: the rest of the file is read
NESTED = ("submodule", "worktree", "nested repository")
_NOTEBOOK_BYTES = 50_000_000  # with pictures
_UNDECODABLE = 0.1  # of the bytes of a file, at most
_FEWEST_DATA = 0.5  # of the characters of a data file that must be in lines that are not overlong
_REPAIRED = ("encoding", "huge", "minified")  # reasons of read_text that concern only a part of a file


@dataclass(frozen=True, slots=True)
class Source:
    """What was read of a file, None for nothing. `reason`: why not all, "" for all: see walk.Skipped and NESTED, or "link"."""

    document: Document | None
    reason: str = ""


def require_readable(root: Path) -> None:
    """CodesageError for a missing or unreadable root, whose files would otherwise count as deleted, or a bare repository."""
    if not os.path.lexists(root):
        raise CodesageError(f"{root}: no such file or folder: give a path that exists")
    if not os.access(root, os.R_OK | (os.X_OK if os.path.isdir(root) else 0)):
        raise CodesageError(f"{root}: no permission to read it: change its permissions")
    if _is_bare(root):
        raise CodesageError(
            f"{root} is a bare repository, which holds no files: give {root.resolve().as_uri()} to search a clone"
        )


def _is_bare(folder: Path) -> bool:
    """Whether a folder is what git keeps of a repository, which is compressed; git knows it by the same three names."""
    try:
        head = (folder / "HEAD").read_text(encoding="utf-8", errors="replace") if (folder / "objects").is_dir() else ""
    except OSError:
        return False
    return re.fullmatch(r"ref: refs/\S+\s*|[0-9a-f]{40}([0-9a-f]{24})?\s*", head) is not None and (folder / "refs").is_dir()


def files_of(root: Path) -> Iterator[Path]:
    """The files of an index of `root`, and what is left out: nested repositories, unreadable folders and links."""
    nested: list[Path] = []
    unreadable: list[Path] = []
    links: list[Path] = []
    files = walk(root, nested=nested, unreadable=unreadable, links=links, ignore_file=IGNORE_FILE)
    yield from (path for path in files if not is_of_index(path))
    yield from (folder for folder in nested if not any(above in nested for above in folder.parents))
    yield from unreadable
    yield from links


def stamped(root: Path) -> Iterator[File]:
    """The files of an index of `root`, with their names and stamps."""
    for path in files_of(root):
        name = name_of(path, root)
        yield path, name, _stamp(path, name)


def _stamp(path: Path, name: str) -> str:
    """A text that changes when the file changes, or when a grammar for it is installed; "" for one that cannot be reached."""
    try:
        status = os.lstat(path)
    except OSError:
        return ""
    state = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"
    grammar = searched_language(name)
    return f"{state}:{grammar}" if grammar else state


def in_order(files: Iterable[File]) -> list[File]:
    """Files in the order in which they are read, the most important first."""
    return sorted(files, key=lambda one: (order_of(kind_of(one[1])), one[1]))


def holds(root: Path, path: Path) -> bool:
    """Whether an index of `root` has files of `path`, a file or folder below it: git may ignore it."""
    return any(file.is_relative_to(path) for file in walk(root, ignore_file=IGNORE_FILE, within=path))


def is_of_index(path: Path) -> bool:
    """Whether a file belongs to an index, which may lie in the tree that it is of."""
    return path.name in (LOCK, *FILES) and os.path.exists(path.with_name(DATABASE))


def read(path: Path, name: str) -> Source:
    """Read one file as `name`, its path relative to the root. Never raises because of its content."""
    content = read_text(path, name=name)
    if isinstance(content, Skipped) and content.reason == "special" and path.is_symlink():
        return Source(None, "link")
    if isinstance(content, Skipped) and content.reason == "special" and path.is_dir():
        return Source(None, _kind_of_repository(path))
    if _is_notebook(name) and not (isinstance(content, Skipped) and content.reason not in _REPAIRED):
        notebook = notebooks.read(path, _NOTEBOOK_BYTES)
        if notebook is not None:
            return _without_faults(notebook.text, name, language_named(notebook.language), "")
    if isinstance(content, Skipped):
        return _in_part(path, name, content.reason) if content.reason in _REPAIRED else Source(None, content.reason)
    return _source(content, _language(name, content), "")


def is_secret(path: Path, name: str) -> bool:
    """Whether a file stays out of an index because its name or its text says that it holds secrets."""
    return read(path, name).reason == "secret"


def _is_notebook(name: str) -> bool:
    return name.lower().endswith(".ipynb")


def _kind_of_repository(folder: Path) -> str:
    """Kind of a nested repository, which is not indexed with the folder around it."""
    mark = folder / ".git"
    if not os.path.lexists(mark):
        return "unreadable"
    try:
        content = mark.read_text(encoding="utf-8", errors="replace") if mark.is_file() else ""
    except OSError:
        content = ""
    parts = Path(content.removeprefix("gitdir:").strip()).parts
    return "submodule" if "modules" in parts else "worktree" if "worktrees" in parts else "nested repository"


def _in_part(path: Path, name: str, reason: str) -> Source:
    """The part of a file that can be read, which `read_text` skipped for `reason`."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError:
        return Source(None, "unreadable")
    if len(data) > MAX_BYTES:
        if content_of(name) == "config":
            return Source(None, "huge")
        data = data[: data.rfind(b"\n", 0, MAX_BYTES) + 1 + data.startswith(codecs.BOM_UTF16_LE)]
    text = _decoded(data)
    if text is None:
        return Source(None, "binary" if b"\0" in data else reason)
    return _without_faults(text, name, None, reason)


def _decoded(data: bytes) -> str | None:
    """The text of a file, undecodable bytes replaced; None where they are too many, or it is binary."""
    content = text_of(data, name="")
    if isinstance(content, Text):
        return content.text
    if b"\0" in data:
        return data.decode("utf-16", "replace") if is_utf16(data) else None
    text = data.decode("utf-8", "replace")
    wrong = text.count("\ufffd") - data.count("\ufffd".encode())
    return text if wrong <= _UNDECODABLE * len(data) else None


def _without_faults(text: str, name: str, language: str | None, reason: str) -> Source:
    """The text with empty lines instead of overlong ones. `language` None: recognise it by the name."""
    text = with_line_feeds(text)
    short = "\n".join("" if len(line) > MAX_LINE else line for line in text.split("\n"))
    if content_of(name) == "config" and len(short) < _FEWEST_DATA * len(text):
        return Source(None, "minified")
    content = text_of(short.encode("utf-8", "replace"), name=name, max_bytes=2 * MAX_BYTES)
    if isinstance(content, Skipped):
        return Source(None, reason or content.reason)
    reason = reason or ("minified" if len(short) < len(text) else "")
    return _source(content, _language(name, content) if language is None else language, reason and reason + IN_PART)


def _language(name: str, content: Text) -> str:
    from codesage.syntax import language_in  # not needed where nothing is read anew

    return language_in(name, content.text) or searched_language(name)


def _source(content: Text, language: str, reason: str) -> Source:
    if holds_secret(content.path, content.text):
        return Source(None, "secret")
    return Source(Document(content.path, language, content.text, content.sha256), reason)
