"""Where source files come from: folders, the standard library, installed and downloaded packages, repositories.

A source is a small frozen value that knows its `key` (stable, unique), can `fetch(cache)` what it needs (the only step
that uses a network; safe to repeat, all or nothing) and streams `documents(cache)`: a Document for each file that is
read and a Skipped for each one that is left out, in an order that depends on nothing but the source. It is picklable,
so a worker process can read it.

Files of the nine languages are read, and documentation (`recognise.is_prose`, language ""). Tests are read too: pairs
of their own come from them, and `recognise.is_test` knows them again. Packages are read when every licence that holds
for a file is permissive, unless told otherwise; Folder and GitRepository are one's own business and read whole.
"""

import email
import fnmatch
import json
import platform
import re
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path, PurePosixPath
from typing import ClassVar, Protocol, runtime_checkable

from codesage.corpus import clients, debian, licences, recognise
from codesage.corpus.archives import Member, members
from codesage.errors import CodesageError
from codesage.languages import language_of
from codesage.records import Document
from codesage.walk import Skipped, Text, read_text, text_of, walk

Found = Document | Skipped
_NAME = re.compile(r"(@[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.+-]*")
_VERSION = re.compile(r"[A-Za-z0-9][\w.+:~!-]*")


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
        root = Path(self.path)
        origin = {"package": root.resolve().name}
        for path in walk(root):
            name = path.relative_to(root).as_posix() if path != root else path.name
            if _readable(name):
                yield _document(read_text(path, name=name), origin, any_licence=True)


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
        root = Path(sysconfig.get_path("stdlib"))
        origin = {"package": "python", "version": platform.python_version(), "licence": "PSF-2.0"}
        for path in walk(root):
            name = path.relative_to(root).as_posix()
            if language_of(name) and not name.startswith(self._LEFT_OUT):
                yield _document(read_text(path, name=f"python/{name}"), origin, any_licence=True)


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
        self.fetch(cache)
        for name, distribution in sorted(self._distributions().items()):
            licence = licences.of_distribution(distribution.metadata)
            if not self.any_licence and not licences.is_permissive(licence):
                yield Skipped(f"{name} ({licence or 'none stated'})", "licence")
                continue
            origin = {"package": name, "version": distribution.version, "licence": licence}
            for file in sorted({str(file) for file in distribution.files or [] if ".." not in file.parts}):
                path = Path(self.path) / file
                if _readable(file) and path.is_file() and not path.is_symlink():
                    read = read_text(path, name=PurePosixPath(file).as_posix())
                    yield _document(read, origin, any_licence=self.any_licence)

    def _distributions(self) -> dict:
        return {d.metadata["Name"].lower(): d for d in distributions(path=[str(self.path)]) if d.metadata["Name"]}


@dataclass(frozen=True, slots=True)
class GitRepository:
    """One commit of a git repository, given by its full hash; blobs are read as committed, nothing is checked out."""

    url: str  # or a path
    commit: str
    held_out: bool = False

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
        origin = {"package": self.name, "version": self.commit}
        for found in clients.git_blobs(_fetched(self._folder(cache), self.key), self.commit, _readable, self.key):
            if isinstance(found, Member):
                yield _document(text_of(found.data, name=found.name), origin, any_licence=True)
            else:
                yield found

    def _folder(self, cache: Path) -> Path:
        return Path(cache) / "git" / f"{self.name}-{self.commit}"


@dataclass(frozen=True, slots=True)
class _Package:
    """What packages have in common: a name, a pinned version, what to read of it, and the licence one expects.

    `languages` limits what is read to these (all, when empty). `include` and `exclude` are globs of paths inside the
    package, `*` matching slashes too, "lib/" standing for all below it. `licence` is what the recipe says: a package
    that states another one is skipped whole; one that states none is taken at the recipe's word.
    """

    name: str
    version: str
    languages: tuple[str, ...] = field(default=(), kw_only=True)
    include: tuple[str, ...] = field(default=(), kw_only=True)
    exclude: tuple[str, ...] = field(default=(), kw_only=True)
    licence: str = field(default="", kw_only=True)
    held_out: bool = field(default=False, kw_only=True)
    any_licence: bool = field(default=False, kw_only=True)
    client: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for what, value, shape in (("name", self.name, _NAME), ("version", self.version, _VERSION)):
            if not shape.fullmatch(value) or ".." in value:
                raise CodesageError(f"{value!r} is no {what} of a {self.client} package: expected one pinned {what}")

    @property
    def key(self) -> str:
        return f"{self.client}:{self.name}=={self.version}"

    def folder(self, cache: Path) -> Path:
        """Where the package's files lie in `cache`."""
        return Path(cache) / self.client / f"{self.name.replace('/', '__')}-{self.version}"

    def chosen(self, path: str) -> bool:
        """Whether a file of the package, by its path inside it, is one to read."""
        if not _readable(path) or (self.languages and language_of(path) and language_of(path) not in self.languages):
            return False
        if self.include and not any(_matches(path, glob) for glob in self.include):
            return False
        return not any(_matches(path, glob) for glob in self.exclude)

    def _document(self, found: Member | Skipped, path: str, licence: str) -> Found:
        """The document of one member; what an include glob names before its first `*` does not make it vendored."""
        if isinstance(found, Skipped):
            return found
        named = [glob[: re.search(r"[*?[]|$", glob).start()] for glob in self.include if _matches(path, glob)]
        judged = path[max(map(len, named), default=0) :] or path
        origin = {"package": self.name, "version": self.version, "licence": licence}
        return _document(text_of(found.data, name=path), origin, any_licence=self.any_licence, judged=judged)

    def _refusal(self, stated: str) -> str:
        """Why the whole package is left out given what it states, or ""."""
        if self.any_licence:
            return ""
        if stated and self.licence and not licences.agree(stated, self.licence):
            return f"{self.key} (states {stated}, expected {self.licence})"
        if not licences.is_permissive(stated or self.licence):
            return f"{self.key} ({stated or self.licence or 'none stated'})"
        return ""

    def _read(self, archive: Path, stated: str, place: Callable[[str], str]) -> Iterator[Found]:
        """Documents of one archive, all under one licence; `place` gives a member's path inside the package."""
        refusal = self._refusal(stated)
        if refusal:
            yield Skipped(refusal, "licence")
            return
        licence = stated or licences.expression(self.licence)
        for found in members(archive, lambda name: self.chosen(place(name))):
            yield self._document(found, place(found.name) if isinstance(found, Member) else "", licence)


@dataclass(frozen=True, slots=True)
class PipPackage(_Package):
    """A Python package: its wheel or, where `kind` asks for it or there is nothing else, its source distribution."""

    kind: str = "any"  # "any", "wheel" or "sdist"
    client: ClassVar[str] = "pip"

    def folder(self, cache: Path) -> Path:
        return Path(cache) / "pip" / (f"{self.name}-{self.version}" + (f".{self.kind}" if self.kind != "any" else ""))

    def fetch(self, cache: Path) -> None:
        clients.once(self.folder(cache), lambda to: clients.pip_download(self.name, self.version, self.kind, to), self.key)

    def documents(self, cache: Path) -> Iterator[Found]:
        archive = _archive(self.folder(cache), self.key)
        wheel = archive.suffix == ".whl"
        metadata = _first(archive, r"[^/]+\.dist-info/METADATA" if wheel else r"[^/]+/PKG-INFO")
        stated = licences.of_distribution(email.message_from_string((metadata or b"").decode("utf-8", "replace")))
        yield from self._read(archive, stated, str if wheel else _Unwrapped())


@dataclass(frozen=True, slots=True)
class NpmPackage(_Package):
    """A package of the npm registry, as published: sources where it ships them, and declaration files."""

    client: ClassVar[str] = "npm"

    def fetch(self, cache: Path) -> None:
        clients.once(self.folder(cache), lambda to: clients.npm_pack(self.name, self.version, to), self.key)

    def documents(self, cache: Path) -> Iterator[Found]:
        archive = _archive(self.folder(cache), self.key)
        try:
            package = json.loads(_first(archive, r"[^/]+/package\.json") or b"{}")
        except (ValueError, RecursionError):
            package = {}
        yield from self._read(archive, licences.of_npm(package if isinstance(package, dict) else {}), _Unwrapped())


@dataclass(frozen=True, slots=True)
class DebianSource(_Package):
    """A Debian source package: the upstream tarballs, under the licences debian/copyright gives path by path."""

    client: ClassVar[str] = "debian"

    def fetch(self, cache: Path) -> None:
        state = Path(cache) / "debian" / ".apt"
        clients.once(self.folder(cache), lambda to: debian.download(self.name, self.version, to, state.resolve()), self.key)

    def documents(self, cache: Path) -> Iterator[Found]:
        folder = _fetched(self.folder(cache), self.key)
        package = debian.contents(folder, self.key)
        copyright = licences.read_copyright(package.copyright)
        refusal = self._refusal(copyright.main)
        if refusal:
            yield Skipped(refusal, "licence")
            return
        for archive, prefix in package.archives:
            yield from self._read_paths(archive, prefix, copyright)

    def _read_paths(self, archive: Path, prefix: str, copyright: licences.Copyright) -> Iterator[Found]:
        place = _Unwrapped(prefix)
        for found in members(archive, lambda name: self.chosen(place(name)) and not place(name).startswith("debian/")):
            if isinstance(found, Skipped):
                yield found
                continue
            path = place(found.name)
            licence = copyright.licence_of(path) or licences.expression(self.licence)
            if not self.any_licence and not licences.is_permissive(licence):
                yield Skipped(path, "licence")
                continue
            yield self._document(found, path, licence)


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
        from codesage.corpus.stack import check

        check(self.name)

    def documents(self, cache: Path) -> Iterator[Found]:
        from codesage.corpus.stack import rows

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
                yield _document(read, origin, any_licence=self.any_licence)


def _readable(path: str) -> bool:
    return bool(language_of(path)) or recognise.is_prose(path)


def _document(read: Text | Skipped, origin: dict, *, any_licence: bool, judged: str = "") -> Found:
    """A file as a Document, or why not; `judged` is the part of its path that tells what it is (all of it)."""
    if isinstance(read, Skipped):
        return read
    reason = recognise.reason(judged or read.path, read.text)
    if reason and reason != "test" and not (any_licence and reason == "copyleft header"):
        return Skipped(read.path, reason)
    return Document(read.path, language_of(read.path), read.text, read.sha256, **origin)


class _Unwrapped:
    """Members' paths below the one folder that such archives wrap everything in: that of the first file asked for."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix, self._root = prefix, ""

    def __call__(self, name: str) -> str:
        self._root = self._root or name.partition("/")[0] + "/"
        return self._prefix + name.removeprefix(self._root)


def _matches(path: str, glob: str) -> bool:
    return fnmatch.fnmatchcase(path, glob + "*" if glob.endswith("/") else glob)


def _fetched(folder: Path, key: str) -> Path:
    if not folder.is_dir():
        raise CodesageError(f"{key} is not in the cache: fetch it first, with a network")
    return folder


def _archive(folder: Path, key: str) -> Path:
    files = sorted(path for path in _fetched(folder, key).iterdir() if path.is_file())
    if len(files) != 1:
        raise CodesageError(f"{folder} holds {len(files)} files, expected the one archive of {key}: remove the folder")
    return files[0]


def _first(archive: Path, name: str) -> bytes | None:
    """The first member whose whole name matches the expression."""
    found = members(archive, lambda member: re.fullmatch(name, member) is not None)
    return next((member.data for member in found if isinstance(member, Member)), None)


# The names that the stage read with before sources were values.


def folder(root: Path | str) -> Iterator[Found]:
    """Documents of a Folder, tests left out."""
    return _without_tests(Folder(str(root)))


def standard_library() -> Iterator[Found]:
    """Documents of the StandardLibrary, tests left out."""
    return _without_tests(StandardLibrary())


def packages(site_packages: Path | str, *, any_licence: bool = False) -> Iterator[Found]:
    """Documents of SitePackages, tests left out."""
    return _without_tests(SitePackages(str(site_packages), any_licence))


def _without_tests(source: Source) -> Iterator[Found]:
    for found in source.documents(Path()):
        if isinstance(found, Skipped) or (found.language and not recognise.is_test(found.path)):
            yield found
        elif found.language:
            yield Skipped(found.path, "test")
