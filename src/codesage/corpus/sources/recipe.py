"""Read a recipe: the TOML file that lists the sources of a corpus, with the versions, pins and licences of packages.

In: a file. Out: sources, in the order of the file. Reading is strict: a mistake gives an error of one line that names the
entry, never a smaller corpus. The format:

    description = "What this corpus is for"        # optional
    standard_library = true                        # optional: the Python standard library too

    [[package]]
    client = "pip"                                 # "pip", "npm" or "debian"
    name = "networkx"
    version = "3.6.1"                              # an exact version; Debian's with epoch and revision
    languages = ["python"]                         # languages to read: names of languages.LANGUAGES
    licence = "BSD-3-Clause"                       # SPDX-like, with AND and OR; must be permissive and agree with the
                                                   # licence that the package states
    kind = "wheel"                                 # optional; pip: "any" (default), "wheel", "sdist"; debian: "source"
                                                   # (default), or "binary": the installed files of a package for all
                                                   # architectures
    include = ["networkx/*"]                       # optional globs of paths inside the package: `*` also matches slashes,
    exclude = ["networkx/drawing/"]                # "x/" means everything below x. Folders that an include names before
                                                   # its first `*` never count as "vendored"
    held_out = true                                # optional: use for evaluation pairs only
    sha256 = "0123..."                             # optional: hash of the archive, or of the .dsc of a Debian source
                                                   # package, which lists the hashes of its tarballs; a list where machines
                                                   # get different files. `codesage corpus pin RECIPE` fills it in

    [[folder]]
    path = "../my-code"                            # relative to the recipe; also an archive or a bare git repository
    held_out = true                                # optional

    [[parquet]]                                    # source files as rows: The Stack, StarCoderData, GitHub Code, ...
    path = "../the-stack"                          # relative to the recipe: a file, or a folder of files; or instead
    hub = "bigcode/the-stack-dedup"                # a data set on a hub, streamed (pip install 'codesage[stack]')
    subset = "data/python"                         # optional, with hub: the folder of the data set to read
    languages = ["python"]                         # optional: languages to read
    licences = ["MIT", "Apache-2.0"]               # optional: read only rows under these, instead of all permissive ones
    any_licence = true                             # optional, without licences: read every row, also those without a licence
    columns = { content = "code", path = "file" }  # optional: the names of the columns for content, path, repository,
                                                   # licences, commit; those of the data sets above are known
    held_out = true                                # optional

    [[repository]]
    url = "../my-project.git"                      # a URL or a path
    commit = "0123456789abcdef0123456789abcdef01234567"
    licence = "MIT"                                # optional: for all files except those in a folder with its own licence
                                                   # file; what is not permissive is left out. Without it all is read
    include = ["docs/"]                            # optional globs, as above
    exclude = ["docs/archive/"]
    most = { parallel = 200 }                      # optional, also in a package: at most so many training pairs of a kind
    held_out = true                                # optional
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from codesage.corpus.sources import licences
from codesage.corpus.sources.digests import is_digest
from codesage.corpus.sources.given import source_at
from codesage.corpus.sources.packages import DebianSource, NpmPackage, Package, PipPackage
from codesage.corpus.sources.stack import ALIASES
from codesage.corpus.sources.trees import GitRepository, Source, StackParquet, StandardLibrary
from codesage.errors import CodesageError
from codesage.languages import LANGUAGES
from codesage.records import PAIR_KINDS

_TEXTS = ("languages", "include", "exclude", "licences", "sha256")  # lists of strings
_MOST = 4_096  # characters of a text, apart from the description
_SHOWN = 200  # characters of a wrong value in a message
_CLIENTS = {"pip": PipPackage, "npm": NpmPackage, "debian": DebianSource}
_KINDS = {"pip": ("any", "wheel", "sdist"), "debian": ("source", "binary")}
_TOP = {"description": str, "standard_library": bool, "package": list, "folder": list, "parquet": list, "repository": list}
_PACKAGE = {
    "client": str,
    "name": str,
    "version": str,
    "languages": list,
    "licence": str,
    "kind": str,
    "include": list,
    "exclude": list,
    "held_out": bool,
    "sha256": (str, list),
    "most": dict,
}
_FOLDER = {"path": str, "held_out": bool}
_PARQUET = {
    "path": str,
    "hub": str,
    "subset": str,
    "languages": list,
    "licences": list,
    "any_licence": bool,
    "columns": dict,
    "held_out": bool,
}
_REPOSITORY = {
    "url": str,
    "commit": str,
    "licence": str,
    "include": list,
    "exclude": list,
    "held_out": bool,
    "most": dict,
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe that was read and checked."""

    path: Path
    description: str
    entries: tuple[Source, ...]

    def sources(self) -> list[Source]:
        """The sources, in the order of the file: the standard library, packages, folders, Parquet, repositories."""
        return list(self.entries)


def read_recipe(path: Path | str) -> Recipe:
    """Read and check the recipe at `path`. On a mistake, CodesageError of one line that names the wrong entry."""
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        message = error.strerror if isinstance(error, OSError) else error
        raise CodesageError(f"{path} cannot be read as a recipe ({message}): expected TOML with [[package]] tables") from None
    _check(table, _TOP, f"{path}")
    sources: list[Source] = []
    if table.get("standard_library"):
        sources.append(StandardLibrary())
    kinds = (("package", _package), ("folder", _folder), ("parquet", _parquet), ("repository", _repository))
    for kind, make in kinds:
        for number, entry in enumerate(table.get(kind, []), start=1):
            sources.append(make(entry, f"{path}: {_title(kind, number, entry)}", path.parent))
    if not sources:
        raise CodesageError(f"{path} names no source: add a [[package]], [[folder]], [[parquet]] or [[repository]]")
    _check_distinct(sources, path)
    return Recipe(path, table.get("description", ""), tuple(sources))


def _package(entry: dict, where: str, folder: Path) -> Source:
    _check(entry, _PACKAGE, where, needed=("client", "name", "version", "languages", "licence"))
    client = entry["client"]
    if client not in _CLIENTS:
        raise CodesageError(f"{where}: unknown client {_short(client)}: expected one of {', '.join(_CLIENTS)}")
    _check_languages(entry, where)
    licence = licences.expression(entry["licence"])
    if not licences.is_permissive(licence):
        raise CodesageError(f"{where}: licence {_short(entry['licence'])} is not permissive: leave the package out")
    pins = [entry["sha256"]] if isinstance(entry.get("sha256"), str) else entry.get("sha256", [])
    if wrong := [pin for pin in pins if not is_digest(pin)]:
        raise CodesageError(f"{where}: sha256 is {_short(wrong[0])}: expected 64 digits, as 'codesage corpus pin' writes them")
    most = _most(entry, where)
    more = {"kind": entry["kind"]} if "kind" in entry else {}
    if more and entry["kind"] not in _KINDS.get(client, ()):
        known = ", ".join(_KINDS.get(client, ())) or "none"
        raise CodesageError(f"{where}: unknown kind {entry['kind']!r}: expected for packages of {client}: {known}")
    try:
        return _CLIENTS[client](
            entry["name"],
            entry["version"],
            licence=licence,
            languages=tuple(entry["languages"]),
            include=tuple(entry.get("include", ())),
            exclude=tuple(entry.get("exclude", ())),
            held_out=entry.get("held_out", False),
            sha256=tuple(pins),
            most=most,
            **more,
        )
    except CodesageError as error:
        raise CodesageError(f"{where}: {error}") from None


def _folder(entry: dict, where: str, folder: Path) -> Source:
    _check(entry, _FOLDER, where, needed=("path",))
    with _usable(where):
        return source_at(folder / entry["path"], held_out=entry.get("held_out", False))


def _parquet(entry: dict, where: str, folder: Path) -> Source:
    _check(entry, _PARQUET, where)
    if ("path" in entry) == ("hub" in entry) or ("subset" in entry and "path" in entry):
        raise CodesageError(f"{where}: expected either path, or hub with an optional subset")
    if entry.get("licences") and entry.get("any_licence"):
        raise CodesageError(f"{where}: expected either licences or any_licence, which reads rows under every licence")
    _check_languages(entry, where)
    columns = entry.get("columns", {})
    if wrong := [role for role, name in columns.items() if role not in ALIASES or not _is_usable(name)]:
        raise CodesageError(f"{where}: columns has {wrong[0]!r}: expected column names for some of {', '.join(ALIASES)}")
    name = str(folder / entry["path"]) if "path" in entry else entry["hub"]
    with _usable(where):
        Path(name).exists()
    return StackParquet(
        name,
        tuple(entry.get("languages", ())),
        entry.get("any_licence", False),
        entry.get("held_out", False),
        licences=tuple(entry.get("licences", ())),
        columns=tuple(columns.items()),
        subset=entry.get("subset", ""),
    )


def _most(entry: dict, where: str) -> tuple[tuple[str, int], ...]:
    for kind, count in entry.get("most", {}).items():
        if kind not in PAIR_KINDS:
            raise CodesageError(f"{where}: most has {kind!r}: expected some of {', '.join(PAIR_KINDS)}")
        if type(count) is not int or count < 0:
            raise CodesageError(f"{where}: most has {kind} = {count!r}: expected a number of pairs, such as 200")
    return tuple(entry.get("most", {}).items())


def _check_languages(entry: dict, where: str) -> None:
    if unknown := [name for name in entry.get("languages", ()) if name not in LANGUAGES]:
        raise CodesageError(f"{where}: unknown language {_short(unknown[0])}: expected some of {', '.join(LANGUAGES)}")


def _repository(entry: dict, where: str, folder: Path) -> Source:
    _check(entry, _REPOSITORY, where, needed=("url", "commit"))
    local, most = folder / entry["url"], _most(entry, where)
    with _usable(where):
        url = str(local) if local.exists() else entry["url"]
    licence = licences.expression(entry.get("licence", ""))
    if licence and not licences.is_permissive(licence):
        raise CodesageError(f"{where}: licence {_short(entry['licence'])} is not permissive: leave the repository out")
    try:
        return GitRepository(
            url,
            entry["commit"],
            entry.get("held_out", False),
            licence=licence,
            include=tuple(entry.get("include", ())),
            exclude=tuple(entry.get("exclude", ())),
            most=most,
        )
    except CodesageError as error:
        raise CodesageError(f"{where}: {error}") from None


def _check(entry: object, shape: Mapping[str, type | tuple[type, ...]], where: str, *, needed: tuple[str, ...] = ()) -> None:
    """Check that every key is known and has the right type, that lists of text hold strings, and that no needed key is missing.

    CodesageError when that is not so.
    """
    if not isinstance(entry, dict):
        raise CodesageError(f"{where}: expected a table, found {_short(entry)}")
    for key, value in entry.items():
        if key not in shape:
            raise CodesageError(f"{where}: unknown key {_short(key)}: expected some of {', '.join(shape)}")
        expected = shape[key]
        kinds = expected if isinstance(expected, tuple) else (expected,)
        texts = value if key in _TEXTS and isinstance(value, list) else [value] if isinstance(value, str) else []
        if type(value) in kinds and all(isinstance(item, str) for item in texts):
            if key != "description" and not all(map(_is_usable, texts)):
                raise CodesageError(f"{where}: {key} is {_short(value)}: expected 1 to {_MOST} characters and no NUL")
        else:
            nouns = ("a list of strings" if key in _TEXTS and kind is list else _noun(kind) for kind in kinds)
            raise CodesageError(f"{where}: {key} is {_short(value)}: expected {' or '.join(nouns)}")
    for key in needed:
        if not entry.get(key):
            raise CodesageError(f"{where}: {key} is missing: add {key} = ...")


def _is_usable(text: object) -> bool:
    """Whether a value is text of a usual length. A NUL ends a path for the system."""
    return isinstance(text, str) and 0 < len(text) <= _MOST and "\0" not in text


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


@contextmanager
def _usable(where: str) -> Iterator[None]:
    """Turn the errors of a path that the system refuses into a CodesageError of one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        message = error.strerror if isinstance(error, OSError) else error
        raise CodesageError(f"{where}: the path cannot be read ({message}): give another one") from None


def _noun(kind: type) -> str:
    return {str: "a string", bool: "true or false", list: "tables", dict: "a table"}[kind]


def _title(kind: str, number: int, entry: object) -> str:
    named = entry.get("name") or entry.get("path") or entry.get("hub") or entry.get("url") if isinstance(entry, dict) else None
    return (
        f"{kind} {named}" if isinstance(named, str) and 0 < len(named) <= _SHOWN and named.isprintable() else f"{kind} {number}"
    )


def _check_distinct(sources: list[Source], path: Path) -> None:
    seen: set[str] = set()
    for source in sources:
        key = source.key.partition("==")[0] if isinstance(source, Package) else source.key
        same = re.sub(r"[-_.]+", "-", key).lower() if isinstance(source, PipPackage) else key  # as pip compares names
        if same in seen:
            raise CodesageError(f"{path}: {key} is listed twice: keep one entry for it")
        seen.add(same)
