"""A recipe: the TOML file that names, pins and licenses the packages a corpus is made of.

In: a file. Out: sources, in the order of the file. A recipe is read strictly: a mistake in it is one line that names
the entry, never a smaller corpus. The format:

    description = "What this corpus is for"        # optional
    standard_library = true                        # optional: the Python standard library too

    [[package]]
    client = "pip"                                 # "pip", "npm" or "debian"
    name = "networkx"
    version = "3.6.1"                              # exactly this one; Debian's with epoch and revision
    languages = ["python"]                         # what is read of it: names of languages.LANGUAGES
    licence = "BSD-3-Clause"                       # SPDX-like, AND and OR, permissive; checked against the package's own
    kind = "wheel"                                 # optional; pip: "any" (default), "wheel", "sdist"; debian: "source"
                                                   # (default), "binary": what a package for all architectures installs
    include = ["networkx/*"]                       # optional globs of paths inside the package, `*` matches slashes too,
    exclude = ["networkx/drawing/"]                # "x/" is all below x; what an include names in plain is never "vendored"
    held_out = true                                # optional: evaluation pairs only

    [[folder]]
    path = "../my-code"                            # relative to the recipe
    held_out = true                                # optional

    [[repository]]
    url = "../my-project.git"                      # a URL or a path
    commit = "0123456789abcdef0123456789abcdef01234567"
    licence = "MIT"                                # optional: of all files but those below a licence file of their own;
                                                   # what is not permissive is left out. Without it all is read
    include = ["docs/"]                            # optional globs, as above
    exclude = ["docs/archive/"]
    held_out = true                                # optional
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from codesage.corpus.sources import licences
from codesage.corpus.sources.packages import DebianSource, NpmPackage, PipPackage
from codesage.corpus.sources.trees import Folder, GitRepository, Source, StandardLibrary
from codesage.errors import CodesageError
from codesage.languages import LANGUAGES

_CLIENTS = {"pip": PipPackage, "npm": NpmPackage, "debian": DebianSource}
_KINDS = {"pip": ("any", "wheel", "sdist"), "debian": ("source", "binary")}
_TOP = {"description": str, "standard_library": bool, "package": list, "folder": list, "repository": list}
_PACKAGE = {
    "client": str, "name": str, "version": str, "languages": list, "licence": str, "kind": str, "include": list,
    "exclude": list, "held_out": bool,
}  # fmt: skip
_FOLDER = {"path": str, "held_out": bool}
_REPOSITORY = {"url": str, "commit": str, "licence": str, "include": list, "exclude": list, "held_out": bool}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe that was read and found right."""

    path: Path
    description: str
    entries: tuple[Source, ...]

    def sources(self) -> list[Source]:
        """The sources, in the order of the file: the standard library, packages, folders, repositories."""
        return list(self.entries)


def read_recipe(path: Path | str) -> Recipe:
    """Read and check the recipe at `path`; CodesageError in one line that names the entry at fault."""
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise CodesageError(f"{path} cannot be read as a recipe ({said}): expected TOML with [[package]] tables") from None
    _check(table, _TOP, f"{path}")
    found: list[Source] = [StandardLibrary()] if table.get("standard_library") else []
    for kind, make in (("package", _package), ("folder", _folder), ("repository", _repository)):
        for number, entry in enumerate(table.get(kind, []), start=1):
            found.append(make(entry, f"{path}: {_title(kind, number, entry)}", path.parent))
    if not found:
        raise CodesageError(f"{path} names no source: add a [[package]], a [[folder]] or a [[repository]]")
    _distinct(found, path)
    return Recipe(path, table.get("description", ""), tuple(found))


def _package(entry: dict, where: str, folder: Path) -> Source:
    _check(entry, _PACKAGE, where, needed=("client", "name", "version", "languages", "licence"))
    client = entry["client"]
    if client not in _CLIENTS:
        raise CodesageError(f"{where}: client {client!r} is not known: expected one of {', '.join(_CLIENTS)}")
    if unknown := [name for name in entry["languages"] if name not in LANGUAGES]:
        raise CodesageError(f"{where}: language {unknown[0]!r} is not known: expected some of {', '.join(LANGUAGES)}")
    licence = licences.expression(entry["licence"])
    if not licences.is_permissive(licence):
        raise CodesageError(f"{where}: licence {entry['licence']!r} is not permissive: leave the package out")
    more = {"kind": entry["kind"]} if "kind" in entry else {}
    if more and entry["kind"] not in _KINDS.get(client, ()):
        known = ", ".join(_KINDS.get(client, ())) or "none"
        raise CodesageError(f"{where}: kind {entry['kind']!r} is not known: expected of packages of {client}: {known}")
    try:
        return _CLIENTS[client](
            entry["name"], entry["version"], licence=licence, languages=tuple(entry["languages"]),
            include=tuple(entry.get("include", ())), exclude=tuple(entry.get("exclude", ())),
            held_out=entry.get("held_out", False), **more,
        )  # fmt: skip
    except CodesageError as error:
        raise CodesageError(f"{where}: {error}") from None


def _folder(entry: dict, where: str, folder: Path) -> Source:
    _check(entry, _FOLDER, where, needed=("path",))
    return Folder(str(folder / entry["path"]), held_out=entry.get("held_out", False))


def _repository(entry: dict, where: str, folder: Path) -> Source:
    _check(entry, _REPOSITORY, where, needed=("url", "commit"))
    local = folder / entry["url"]
    licence = licences.expression(entry.get("licence", ""))
    if licence and not licences.is_permissive(licence):
        raise CodesageError(f"{where}: licence {entry['licence']!r} is not permissive: leave the repository out")
    try:
        return GitRepository(
            str(local) if local.exists() else entry["url"], entry["commit"], entry.get("held_out", False), licence,
            tuple(entry.get("include", ())), tuple(entry.get("exclude", ())),
        )  # fmt: skip
    except CodesageError as error:
        raise CodesageError(f"{where}: {error}") from None


def _check(entry: object, shape: dict[str, type], where: str, *, needed: tuple[str, ...] = ()) -> None:
    """Every key is known and of its type, lists of languages and globs hold text, what is needed is there."""
    if not isinstance(entry, dict):
        raise CodesageError(f"{where}: expected a table, found {entry!r}")
    for key, value in entry.items():
        if key not in shape:
            raise CodesageError(f"{where}: key {key!r} is not known: expected some of {', '.join(shape)}")
        texts = key in ("languages", "include", "exclude")
        if type(value) is not shape[key] or (texts and not all(isinstance(item, str) and item for item in value)):
            raise CodesageError(f"{where}: {key} is {value!r}: expected {'a list of texts' if texts else _noun(shape[key])}")
    for key in needed:
        if not entry.get(key):
            raise CodesageError(f"{where}: {key} is missing: add {key} = ...")


def _noun(kind: type) -> str:
    return {str: "a text in quotes", bool: "true or false", list: "tables"}[kind]


def _title(kind: str, number: int, entry: object) -> str:
    named = entry.get("name") or entry.get("path") or entry.get("url") if isinstance(entry, dict) else None
    return f"{kind} {named}" if isinstance(named, str) else f"{kind} {number}"


def _distinct(found: list[Source], path: Path) -> None:
    seen: set[str] = set()
    for source in found:
        key = source.key.partition("==")[0] if source.key.startswith(tuple(_CLIENTS)) else source.key
        if key in seen:
            raise CodesageError(f"{path}: {key} is there twice: keep one entry for it")
        seen.add(key)
