"""Packages of pip, npm and Debian as sources, given by name and pinned version.

In: a name, a version, what to read and the expected licence. Out: documents, streamed from the published archive. By
default a package is read only if its licence is permissive. Debian states licences by path, so there each file is judged
by its own licence. An archive that is damaged, or differs from the fetched or pinned one, is an error.
"""

import email
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import ClassVar

from codesage.corpus.sources import clients, debian, digests, licences
from codesage.corpus.sources.archives import DamagedArchive, Member, members
from codesage.corpus.sources.others import Others
from codesage.corpus.sources.trees import Entry, document, fetched, matches, readable
from codesage.errors import CodesageError
from codesage.languages import language_of
from codesage.walk import Skipped, text_of

_NAME = re.compile(r"(@[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.+-]*")
_VERSION = re.compile(r"[A-Za-z0-9][\w.+:~!-]*")


@dataclass(frozen=True, slots=True)
class Package(ABC):
    """The base class of packages: a name, a pinned version, what to read, and the expected licence.

    Only files in `languages` are read, or all when it is empty. `include` and `exclude` are globs of paths inside the
    package: `*` also matches slashes, and "lib/" means everything below it. `licence` comes from the recipe. A package
    that states another licence is skipped; one that states none gets the recipe's. `sha256` pins the fetched file
    (digests.pin_of): one hash, or several where machines get different files. When it is empty, any file is accepted.
    """

    name: str
    version: str
    languages: tuple[str, ...] = field(default=(), kw_only=True)
    include: tuple[str, ...] = field(default=(), kw_only=True)
    exclude: tuple[str, ...] = field(default=(), kw_only=True)
    licence: str = field(default="", kw_only=True)
    held_out: bool = field(default=False, kw_only=True)
    any_licence: bool = field(default=False, kw_only=True)
    sha256: tuple[str, ...] = field(default=(), kw_only=True)
    package: str = field(default="", kw_only=True)
    most: tuple[tuple[str, int], ...] = field(default=(), kw_only=True, repr=False)  # trees.limits_of
    client: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for what, value, shape in (("name", self.name, _NAME), ("version", self.version, _VERSION)):
            if not shape.fullmatch(value) or ".." in value:
                raise CodesageError(f"{value!r} is not a valid {what} of a {self.client} package: expected one pinned {what}")

    @property
    def key(self) -> str:
        """The identity of the source."""
        return f"{self.client}:{self.name}=={self.version}"

    @property
    def names(self) -> list[str]:
        """The possible names of the package, the shortest first."""
        return [self.name, f"{self.client}/{self.name}", f"{self.client}/{self.name} {self.version}"]

    def folder(self, cache: Path) -> Path:
        """The folder of the package's files in `cache`."""
        return Path(cache) / self.client / f"{self.name.replace('/', '__')}-{self.version}"

    def fetch(self, cache: Path) -> None:
        """Download the package unless it is in the cache, and compare its files with the recorded and pinned hashes."""
        folder = self.folder(cache)

        def fill(to: Path) -> None:
            self._download(to, Path(cache))
            digests.record(to, folder)

        clients.once(folder, fill, self.key)
        digests.check(folder, self.sha256, self.key)

    def wanted(self, path: str, others: Others) -> bool:
        """Whether to read the file at `path` inside the package. `others` counts the files that no source reads."""
        if self.include and not any(matches(path, glob) for glob in self.include):
            return False
        if any(matches(path, glob) for glob in self.exclude):
            return False
        if not readable(path):
            return others.add(path)
        return not self.languages or not language_of(path) or language_of(path) in self.languages

    @abstractmethod
    def _download(self, folder: Path, cache: Path) -> None:
        """Download the package into an empty folder with its client."""

    @abstractmethod
    def documents(self, cache: Path) -> Iterator[Entry]:
        """The documents of the package and what was left out."""

    @contextmanager
    def _archive_errors(self, cache: Path) -> Iterator[None]:
        """Turn DamagedArchive into a CodesageError of one line that says how to fix it."""
        try:
            yield
        except DamagedArchive as error:
            cure = f"remove {self.folder(cache)} and run again to fetch it anew"
            raise CodesageError(f"{self.key}: {error}: {cure}") from None

    def _document(self, member: Member | Skipped, path: str, licence: str) -> Entry:
        """The document of one member. Folders that an include glob names before its first `*` never count as vendored."""
        if isinstance(member, Skipped):
            return member
        named = [re.split(r"[*?[]", glob, maxsplit=1)[0] for glob in self.include if matches(path, glob)]
        judged = path[max(map(len, named), default=0) :] or path
        origin = {"package": self.package or self.name, "version": self.version, "licence": licence}
        return document(text_of(member.data, name=path), origin, any_licence=self.any_licence, judged=judged)

    def _refusal(self, stated: str) -> str:
        """Why the whole package is left out, given the licence that it states; "" when it is read."""
        if self.any_licence:
            return ""
        if stated and self.licence and not licences.agree(stated, self.licence):
            return f"{self.key} (states {stated}, expected {self.licence})"
        if not licences.is_permissive(stated or self.licence):
            return f"{self.key} ({stated or self.licence or 'none stated'})"
        return ""

    def _read(
        self, archive: Path, metadata: str, licence_in: Callable[[bytes], str], place: Callable[[str], str]
    ) -> Iterator[Entry]:
        """The documents of one archive, all under the licence that its metadata states. `place` maps names to paths.

        The metadata is the first member whose whole name matches a regular expression. What is before it waits until it is
        read, so that no archive is decompressed twice.
        """
        others, is_metadata = Others(), re.compile(metadata).fullmatch
        found = members(archive, lambda name: self.wanted(place(name), others) or is_metadata(name) is not None)
        before, stated = [], None
        for member in found:
            if isinstance(member, Member) and is_metadata(member.name):
                stated = licence_in(member.data)
                break
            before.append(member)
        stated = licence_in(b"") if stated is None else stated
        if refusal := self._refusal(stated):
            yield Skipped(refusal, "licence")
            return
        licence = stated or licences.expression(self.licence)
        for member in chain(before, found):
            if isinstance(member, Skipped):
                yield member
            elif not is_metadata(member.name):
                yield self._document(member, place(member.name), licence)
        yield from others.counts()


@dataclass(frozen=True, slots=True)
class PipPackage(Package):
    """A Python package: its wheel, or its source distribution if `kind` says so or there is no wheel."""

    kind: str = "any"  # "any", "wheel" or "sdist"
    client: ClassVar[str] = "pip"

    def folder(self, cache: Path) -> Path:
        """The folder of the package's files in `cache`, one for each kind."""
        return Path(cache) / "pip" / (f"{self.name}-{self.version}" + (f".{self.kind}" if self.kind != "any" else ""))

    def _download(self, folder: Path, cache: Path) -> None:
        clients.pip_download(self.name, self.version, self.kind, folder)

    def documents(self, cache: Path) -> Iterator[Entry]:
        """The members in the order of the archive, under the licence in the metadata."""
        archive = _archive(self.folder(cache), self.key)
        wheel = archive.suffix == ".whl"
        metadata = r"[^/]+\.dist-info/METADATA" if wheel else r"[^/]+/PKG-INFO"
        with self._archive_errors(cache):
            yield from self._read(archive, metadata, _licence_in_distribution, str if wheel else _Unwrapped())


@dataclass(frozen=True, slots=True)
class NpmPackage(Package):
    """A package of the npm registry, as published: its sources, if it ships them, and its declaration files."""

    client: ClassVar[str] = "npm"

    def _download(self, folder: Path, cache: Path) -> None:
        clients.npm_pack(self.name, self.version, folder)

    def documents(self, cache: Path) -> Iterator[Entry]:
        """The members in the order of the archive, under the licence in package.json."""
        archive = _archive(self.folder(cache), self.key)
        with self._archive_errors(cache):
            yield from self._read(archive, r"[^/]+/package\.json", _licence_in_npm, _Unwrapped())


@dataclass(frozen=True, slots=True)
class DebianSource(Package):
    """A Debian package, under the licences that its copyright file states by path.

    `kind` "source" reads the upstream tarballs. "binary" reads the files that a package for all architectures installs; it
    is for languages whose packages install their sources. Their paths are relative to /usr/share or /usr/lib.
    """

    kind: str = "source"  # "source", "binary"
    client: ClassVar[str] = "debian"

    def _download(self, folder: Path, cache: Path) -> None:
        binary = self.kind == "binary"
        download, state = (debian.download_binary, ".apt-binary") if binary else (debian.download, ".apt")
        download(self.name, self.version, folder, (cache / "debian" / state).resolve())

    def documents(self, cache: Path) -> Iterator[Entry]:
        """The files of the main tarball, then those of the others. A file whose licence is not permissive is skipped."""
        with self._archive_errors(cache):
            yield from self._documents(fetched(self.folder(cache), self.key))

    def _documents(self, folder: Path) -> Iterator[Entry]:
        if self.kind == "binary":
            archive = debian.package_of(folder, self.key)
            text = _first(archive, re.escape(f"usr/share/doc/{self.name}/copyright")) or b""
            package = debian.Contents(((archive, ""),), text.decode("utf-8", "replace"))
        else:
            package = debian.contents(folder, self.key)
        copyright = licences.read_copyright(package.copyright)
        refusal = self._refusal(copyright.main)
        if refusal:
            yield Skipped(refusal, "licence")
            return
        others = Others()
        for archive, prefix in package.archives:
            if self.kind == "binary":
                yield from self._read_paths(archive, _installed, copyright.licence_of_installed, others)
            else:
                yield from self._read_paths(archive, _Unwrapped(prefix), copyright.licence_of, others)
        yield from others.counts()

    def _read_paths(
        self, archive: Path, place: Callable[[str], str], licence_of: Callable[[str], str], others: Others
    ) -> Iterator[Entry]:
        def wanted(name: str) -> bool:
            return not place(name).startswith("debian/") and self.wanted(place(name), others)

        for member in members(archive, wanted):
            if isinstance(member, Skipped):
                yield member
                continue
            path = place(member.name)
            licence = licence_of(path) or licences.expression(self.licence)
            if not self.any_licence and not licences.is_permissive(licence):
                yield Skipped(path, "licence")
                continue
            yield self._document(member, path, licence)


class _Unwrapped:
    """Removes the top folder that wraps everything in such archives from members' paths. The first path gives its name."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix, self._root = prefix, ""

    def __call__(self, name: str) -> str:
        self._root = self._root or name.partition("/")[0] + "/"
        return self._prefix + name.removeprefix(self._root)


def _installed(name: str) -> str:
    """The path of an installed file, relative to usr/share or usr/lib."""
    return re.sub(r"^usr/(share|lib)/", "", name)


def _archive(folder: Path, key: str) -> Path:
    files = sorted(path for path in fetched(folder, key).iterdir() if path.is_file())
    if len(files) != 1:
        raise CodesageError(f"{folder} holds {len(files)} files, expected only the archive of {key}: remove the folder")
    return files[0]


def _licence_in_distribution(metadata: bytes) -> str:
    """The licence that the metadata of a Python distribution states, or ""."""
    return licences.of_distribution(email.message_from_string(metadata.decode("utf-8", "replace")))


def _licence_in_npm(text: bytes) -> str:
    """The licence that a package.json states, or ""."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return licences.of_npm(value) if isinstance(value, dict) else ""


def _first(archive: Path, name: str) -> bytes | None:
    """The data of the first member whose whole name matches the regular expression `name`."""
    matching = members(archive, lambda member: re.fullmatch(name, member) is not None)
    return next((member.data for member in matching if isinstance(member, Member)), None)
