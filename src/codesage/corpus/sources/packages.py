"""Packages as sources: by name and pinned version, from pip, npm and Debian.

In: a name, a version, what to read of it and the licence one expects. Out: documents, streamed from the published
archive. A package is read when its licence is permissive, unless told otherwise; where Debian states licences path by
path, each file is judged by its own.
"""

import email
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from codesage.corpus.sources import clients, debian, licences
from codesage.corpus.sources.archives import Member, members
from codesage.corpus.sources.trees import Found, document, fetched, matches, readable
from codesage.errors import CodesageError
from codesage.languages import language_of
from codesage.walk import Skipped, text_of

_NAME = re.compile(r"(@[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.+-]*")
_VERSION = re.compile(r"[A-Za-z0-9][\w.+:~!-]*")


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
        if not readable(path) or (self.languages and language_of(path) and language_of(path) not in self.languages):
            return False
        if self.include and not any(matches(path, glob) for glob in self.include):
            return False
        return not any(matches(path, glob) for glob in self.exclude)

    def _document(self, found: Member | Skipped, path: str, licence: str) -> Found:
        """The document of one member; what an include glob names before its first `*` does not make it vendored."""
        if isinstance(found, Skipped):
            return found
        named = [glob[: re.search(r"[*?[]|$", glob).start()] for glob in self.include if matches(path, glob)]
        judged = path[max(map(len, named), default=0) :] or path
        origin = {"package": self.name, "version": self.version, "licence": licence}
        return document(text_of(found.data, name=path), origin, any_licence=self.any_licence, judged=judged)

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
        """Members in the order of the archive, under the licence of the metadata."""
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
        """Members in the order of the archive, under the licence of package.json."""
        archive = _archive(self.folder(cache), self.key)
        try:
            package = json.loads(_first(archive, r"[^/]+/package\.json") or b"{}")
        except (ValueError, RecursionError):
            package = {}
        yield from self._read(archive, licences.of_npm(package if isinstance(package, dict) else {}), _Unwrapped())


@dataclass(frozen=True, slots=True)
class DebianSource(_Package):
    """A Debian package, under the licences its copyright file gives path by path.

    `kind` "source" reads the upstream tarballs; "binary" what a package for all architectures installs, for languages
    whose packages install their sources: paths then are those below /usr/share or /usr/lib.
    """

    kind: str = "source"  # "source", "binary"
    client: ClassVar[str] = "debian"

    def fetch(self, cache: Path) -> None:
        binary = self.kind == "binary"
        download, folder = (debian.download_binary, ".apt-binary") if binary else (debian.download, ".apt")
        state = (Path(cache) / "debian" / folder).resolve()
        clients.once(self.folder(cache), lambda to: download(self.name, self.version, to, state), self.key)

    def documents(self, cache: Path) -> Iterator[Found]:
        """The main tarball, then the others; a file whose own licence is not permissive is skipped."""
        folder = fetched(self.folder(cache), self.key)
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
        for archive, prefix in package.archives:
            if self.kind == "binary":
                yield from self._read_paths(archive, _installed, copyright.licence_of_installed)
            else:
                yield from self._read_paths(archive, _Unwrapped(prefix), copyright.licence_of)

    def _read_paths(self, archive: Path, place: Callable[[str], str], licence_of: Callable[[str], str]) -> Iterator[Found]:
        for found in members(archive, lambda name: self.chosen(place(name)) and not place(name).startswith("debian/")):
            if isinstance(found, Skipped):
                yield found
                continue
            path = place(found.name)
            licence = licence_of(path) or licences.expression(self.licence)
            if not self.any_licence and not licences.is_permissive(licence):
                yield Skipped(path, "licence")
                continue
            yield self._document(found, path, licence)


class _Unwrapped:
    """Members' paths below the one folder that such archives wrap everything in: that of the first file asked for."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix, self._root = prefix, ""

    def __call__(self, name: str) -> str:
        self._root = self._root or name.partition("/")[0] + "/"
        return self._prefix + name.removeprefix(self._root)


def _installed(name: str) -> str:
    """The path of an installed file below the folder for what does not depend on the machine."""
    return re.sub(r"^usr/(share|lib)/", "", name)


def _archive(folder: Path, key: str) -> Path:
    files = sorted(path for path in fetched(folder, key).iterdir() if path.is_file())
    if len(files) != 1:
        raise CodesageError(f"{folder} holds {len(files)} files, expected the one archive of {key}: remove the folder")
    return files[0]


def _first(archive: Path, name: str) -> bytes | None:
    """The first member whose whole name matches the expression."""
    found = members(archive, lambda member: re.fullmatch(name, member) is not None)
    return next((member.data for member in found if isinstance(member, Member)), None)
