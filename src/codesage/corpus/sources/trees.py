"""Where source files come from: folders, the standard library, installed and downloaded packages, repositories.

A source is a small frozen value that knows its `key` (stable, unique), can `fetch(cache)` what it needs (the only step
that uses a network; safe to repeat, all or nothing) and streams `documents(cache)`: a Document for each file that is
read and a Skipped for each one that is left out, in an order that depends on nothing but the source. It is picklable,
so a worker process can read it.

Files of the nine languages are read, and documentation (`recognise.is_prose`, language ""). Tests are read too: pairs
of their own come from them, and `recognise.is_test` knows them again. Packages are read when every licence that holds
for a file is permissive, unless told otherwise; Folder and GitRepository are one's own business and read whole.
"""

import platform
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import distributions
from pathlib import Path, PurePosixPath
from typing import ClassVar, Protocol, runtime_checkable

from codesage.corpus.documents import recognise
from codesage.corpus.sources import clients, licences
from codesage.corpus.sources.archives import Member
from codesage.errors import CodesageError
from codesage.languages import language_of
from codesage.records import Document
from codesage.walk import Skipped, Text, name_of, read_text, text_of, walk

Found = Document | Skipped


@runtime_checkable
class Source(Protocol):
    """What every source can do; `held_out` ones give evaluation pairs only."""

    held_out: bool

    @property
    def key(self) -> str:
        """The source's identity, as "pip:numpy==2.4.6"."""

    def fetch(self, cache: Path) -> None:
        """Bring what `documents` reads into `cache`; CodesageError in one line when that fails."""

    def documents(self, cache: Path) -> Iterator[Found]:
        """The documents, and what was left out; CodesageError when the source was never fetched or is gone."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Files under a folder of one's own, ignored files left out; the package is the folder's name."""

    path: str
    held_out: bool = False

    @property
    def key(self) -> str:
        return f"folder:{Path(self.path).resolve()}"

    def fetch(self, cache: Path) -> None:
        if not Path(self.path).exists():
            raise CodesageError(f"{self.path}: no such file or folder: give a path that exists")

    def documents(self, cache: Path) -> Iterator[Found]:
        """Files of the nine languages and documentation, sorted by path."""
        root = Path(self.path)
        origin = {"package": root.resolve().name}
        for path in walk(root):
            name = name_of(path, root)
            if readable(name):
                yield document(read_text(path, name=name), origin, any_licence=True)


@dataclass(frozen=True, slots=True)
class StandardLibrary:
    """The Python standard library of the running interpreter, its own tests and bundled packages left out."""

    held_out: ClassVar[bool] = False
    _LEFT_OUT: ClassVar[tuple[str, ...]] = ("site-packages/", "ensurepip/", "test/", "lib2to3/", "idlelib/", "config-")

    @property
    def key(self) -> str:
        return f"python:{platform.python_version()}"

    def fetch(self, cache: Path) -> None:
        """Nothing to bring: it is there."""

    def documents(self, cache: Path) -> Iterator[Found]:
        """Files of Python, sorted by path."""
        root = Path(sysconfig.get_path("stdlib"))
        origin = {"package": "python", "version": platform.python_version(), "licence": "PSF-2.0"}
        for path in walk(root):
            name = name_of(path, root)
            if language_of(name) and not name.startswith(self._LEFT_OUT):
                yield document(read_text(path, name=f"python/{name}"), origin, any_licence=True)


@dataclass(frozen=True, slots=True)
class SitePackages:
    """The distributions installed in a site-packages folder, in the order of their names."""

    path: str
    any_licence: bool = False
    held_out: ClassVar[bool] = False

    @property
    def key(self) -> str:
        return f"site-packages:{Path(self.path).resolve()}"

    def fetch(self, cache: Path) -> None:
        if not self._distributions():
            raise CodesageError(f"{self.path} holds no installed package: give a site-packages folder")

    def documents(self, cache: Path) -> Iterator[Found]:
        """Package by package, files sorted by path."""
        self.fetch(cache)
        for name, distribution in sorted(self._distributions().items()):
            licence = licences.of_distribution(distribution.metadata)
            if not self.any_licence and not licences.is_permissive(licence):
                yield Skipped(f"{name} ({licence or 'none stated'})", "licence")
                continue
            origin = {"package": name, "version": distribution.version, "licence": licence}
            for file in sorted({str(file) for file in distribution.files or [] if ".." not in file.parts}):
                path = Path(self.path) / file
                if readable(file) and path.is_file() and not path.is_symlink():
                    read = read_text(path, name=PurePosixPath(file).as_posix())
                    yield document(read, origin, any_licence=self.any_licence)

    def _distributions(self) -> dict:
        return {d.metadata["Name"].lower(): d for d in distributions(path=[str(self.path)]) if d.metadata["Name"]}


@dataclass(frozen=True, slots=True)
class GitRepository:
    """One commit of a git repository, given by its full hash; blobs are read as committed, nothing is checked out.

    With a `licence`, files are under it unless a licence file in a folder above them says otherwise; those under terms
    that are not permissive, or not recognised, are left out. Without one the repository is read whole.
    """

    url: str  # or a path
    commit: str
    held_out: bool = False
    licence: str = ""
    include: tuple[str, ...] = ()  # globs of paths, as of packages
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", self.commit):
            raise CodesageError(f"{self.commit!r} is no full commit hash: give the 40 digits that git rev-parse prints")
        if not self.url or self.url.startswith("-"):
            raise CodesageError(f"{self.url!r} is no address of a repository: give a URL or a path")

    @property
    def name(self) -> str:
        return re.sub(r"[^\w.+-]", "_", re.split(r"[/:]", self.url.rstrip("/"))[-1].removesuffix(".git")) or "repository"

    @property
    def key(self) -> str:
        return f"git:{re.sub('(?<=://)[^/@]*@', '', self.url)}@{self.commit}"  # without a password

    def fetch(self, cache: Path) -> None:
        address = str(Path(self.url).resolve()) if Path(self.url).exists() else self.url
        clients.once(self._folder(cache), lambda folder: clients.git_fetch(address, self.commit, folder, self.key), self.key)

    def documents(self, cache: Path) -> Iterator[Found]:
        """Files of the nine languages and documentation, sorted by path."""
        folder = fetched(self._folder(cache), self.key)
        stated = self._licences(folder) if self.licence else {}
        for found in clients.git_blobs(folder, self.commit, self._chosen, self.key):
            if isinstance(found, Skipped):
                yield found
                continue
            licence = next((stated[above] for above in _folders_above(found.name) if above in stated), self.licence)
            if self.licence and not licences.is_permissive(licence):
                yield Skipped(found.name, "licence")
                continue
            origin = {"package": self.name, "version": self.commit, "licence": licence}
            yield document(text_of(found.data, name=found.name), origin, any_licence=not self.licence)

    def _chosen(self, path: str) -> bool:
        if not readable(path) or (self.include and not any(matches(path, glob) for glob in self.include)):
            return False
        return not any(matches(path, glob) for glob in self.exclude)

    def _licences(self, folder: Path) -> dict[str, str]:
        """Folders below the root that have a licence file of their own, and what it says ("" when it is not recognised)."""
        files = clients.git_blobs(folder, self.commit, lambda path: "/" in path and licences.is_licence_file(path), self.key)
        return {file.name.rpartition("/")[0]: licences.of_file(file.data.decode("utf-8", "replace"))
                for file in files if isinstance(file, Member)}  # fmt: skip

    def _folder(self, cache: Path) -> Path:
        return Path(cache) / "git" / f"{self.name}-{self.commit}"


@dataclass(frozen=True, slots=True)
class StackParquet:
    """Files in the layout of The Stack (dedup): a local folder of Parquet, or the name of a data set on a hub."""

    name: str
    languages: tuple[str, ...] = ()
    any_licence: bool = False
    held_out: bool = False

    @property
    def key(self) -> str:
        return f"stack:{Path(self.name).resolve() if Path(self.name).exists() else self.name}"

    def fetch(self, cache: Path) -> None:
        from codesage.corpus.sources.stack import check

        check(self.name)

    def documents(self, cache: Path) -> Iterator[Found]:
        """Rows in the order of the files."""
        from codesage.corpus.sources.stack import rows

        for row in rows(self.name):
            if isinstance(row, Skipped):
                yield row
            elif language_of(row.path) and (not self.languages or language_of(row.path) in self.languages):
                licence = licences.expression(" AND ".join(row.licences))
                if not self.any_licence and not licences.is_permissive(licence):
                    yield Skipped(row.path, "licence")
                    continue
                origin = {"package": row.repository, "version": row.commit, "licence": licence}
                read = text_of(row.content.encode("utf-8", "replace"), name=row.path)
                yield document(read, origin, any_licence=self.any_licence)


def _folders_above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def matches(path: str, glob: str) -> bool:
    """Whether a glob of a recipe names `path`: `*` matches slashes too, and "x/" stands for all below x."""
    return fnmatchcase(path, glob + "*" if glob.endswith("/") else glob)


def readable(path: str) -> bool:
    """Whether sources read files of this name: the nine languages and documentation."""
    return bool(language_of(path)) or recognise.is_prose(path)


def document(read: Text | Skipped, origin: dict, *, any_licence: bool, judged: str = "") -> Found:
    """A file as a Document, or why not; `judged` is the part of its path that tells what it is (all of it)."""
    if isinstance(read, Skipped):
        return read
    reason = recognise.reason(judged or read.path, read.text)
    if reason and reason != "test" and not (any_licence and reason == "copyleft header"):
        return Skipped(read.path, reason)
    return Document(read.path, language_of(read.path), read.text, read.sha256, **origin)


def fetched(folder: Path, key: str) -> Path:
    """The folder of a source in the cache; CodesageError when it is not there."""
    if not folder.is_dir():
        raise CodesageError(f"{key} is not in the cache: fetch it first, with a network")
    return folder
