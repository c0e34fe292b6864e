"""The kind of a file by its path, for ranking and for the order of encoding.

In: a path within the root. Out: "code", "declarations", "types", "test", "example", "generated", "vendored", "legacy", "docs"
or "data". Only names are used; no file is read.
"""

import re
from collections.abc import Collection
from functools import lru_cache

from codesage.languages import language_of
from codesage.paths import is_test, kind_by_path
from codesage.search.terms import parts_of, stem

_TEST = re.compile(
    r"(^|/)(tests?|testing|specs?|benchmarks?|bench|fixtures?|mocks?|__mocks__|e2e)/|(^|/)tests?\.\w+$", re.IGNORECASE
)
_EXAMPLE = re.compile(r"(^|/)(examples?|samples?|demos?|docs_src|tutorials?|playground)/", re.IGNORECASE)
_LEGACY = re.compile(r"(^|[/_.-])(legacy|deprecated|compat|_?old|obsolete)([/_.-]|$)", re.IGNORECASE)
_VERSION = re.compile(  # v2, v1beta1, version-2.0 in a name, or a folder 2.0
    r"(?:^|(?<=[/_.-]))(?:v|version-?)(?P<number>\d+(?:\.\d+)*)(?P<before>(?:alpha|beta|rc)\d*)?(?=[/_.-]|$)"
    r"|(?:^|(?<=/))(?P<folder>\d+(?:\.\d+)+)(?=/)",
    re.IGNORECASE,
)
_DOCS = re.compile(
    r"\.(md|markdown|mdx|rst|txt|adoc|org|tex|html?)$|(^|/)(docs?|changelog|readme|licen[cs]e|authors)(/|$)", re.IGNORECASE
)
_PACKAGE_DOCS = re.compile(r"(^|/)(package-info\.java|doc\.go)$")  # what documents a package, by the language's convention
_CODE = re.compile(
    r"\.(sh|bash|zsh|ps1|rs|kt|kts|scala|swift|lua|pl|pm|r|jl|ex|exs|erl|hs|mli?|clj|dart|vue|svelte|sql|proto|cpp"
    r"|cc|cxx|hpp|hh|hxx|m|mm|fs|vb|zig|nim|elm|ipynb)$",
    re.IGNORECASE,
)
_DECLARING = re.compile(r"(?P<stem>[^/]+)\.(?P<suffix>h|hh|hpp|hxx|h\+\+|pyi|mli|d\.[cm]?ts)$", re.IGNORECASE)
_CONTRACTS = re.compile(r"(?:^|(?<=/))((?:contracts?|interfaces?|abstractions?)/)", re.IGNORECASE)
_TYPES = re.compile(r"(?P<around>(?:.*/)?)types/(?:.*/)?(?P<file>[^/]+)\.[cm]?tsx?$", re.IGNORECASE)
_SCRIPT = re.compile(r"\.[cm]?[jt]sx?$", re.IGNORECASE)
_C_FAMILY = ("c", "cc", "cpp", "cxx", "c++", "m", "mm", "cu")
_DEFINING = {
    "pyi": ("py", "pyx", "c"),
    "mli": ("ml",),
    "d.ts": ("js", "ts", "tsx"),
    "d.mts": ("mjs", "mts"),
    "d.cts": ("cjs", "cts"),
}
_FIRST = {"code": 0, "example": 1, "test": 1, "legacy": 1, "generated": 2, "vendored": 2, "docs": 2, "data": 3}


@lru_cache(maxsize=65_536)
def kind_of(path: str) -> str:
    """The kind of one file."""
    by_path = kind_by_path(path)
    if by_path in ("vendored", "generated", "minified"):
        return "vendored" if by_path == "vendored" else "generated"
    if is_test(path) or _TEST.search(path):
        return "test"
    if _EXAMPLE.search(path):
        return "example"
    code = language_of(path) or _CODE.search(path)
    if not code:
        return "docs" if _DOCS.search(path) else "data"
    if _LEGACY.search(path):
        return "legacy"
    return "docs" if _PACKAGE_DOCS.search(path) else "code"


def kinds_of(paths: Collection[str]) -> list[str]:
    """The kind of each file of an index: as `kind_of`, but it depends on the other files for three kinds.

    Code and prose of an older version is "legacy": `v3/types.ts` is older where there is a folder `v4` beside `v3`, or a
    `types.ts` in the place of `v3/types.ts`. A file that declares what another one defines is "declarations": `url.h` where
    there is a `url.c`, `Contracts/Store.php` where there is a `Store.php` in the folder of `Contracts`. TypeScript in a folder
    `types` is "types" where other code beside that folder has its name in its own: `types/store.ts` and `createStore.ts`.
    """
    older, declaring, types = _older(paths), _declaring(paths), _types(paths)
    kinds = []
    for path in paths:  # the same path may be there twice, of two repositories
        kind = kind_of(path)
        if path in older and kind in ("code", "docs"):
            kind = "legacy"
        elif path in declaring and kind == "code":
            kind = "declarations"
        elif path in types and kind == "code":
            kind = "types"
        kinds.append(kind)
    return kinds


def _declaring(paths: Collection[str]) -> set[str]:
    """The files among `paths` that only declare what another one defines.

    These are headers and stubs with a file of the same name, in any folder, and `Contracts/Cache/Store.php` beside
    `Cache/Store.php`.
    """
    names = {path.rpartition("/")[2].lower() for path in paths}
    present, headers = set(paths), set()
    for path in paths:
        if (folder := _CONTRACTS.search(path)) and path[: folder.start(1)] + path[folder.end(1) :] in present:
            headers.add(path)
        if declaring := _DECLARING.search(path):
            stem, suffix = declaring["stem"].lower(), declaring["suffix"].lower()
            if any(f"{stem}.{defining}" in names for defining in _DEFINING.get(suffix, _C_FAMILY)):
                headers.add(path)
    return headers


def _types(paths: Collection[str]) -> set[str]:
    """The files among `paths` in folders `types` of TypeScript that give the types of what a file beside the folder defines."""
    inside = {path: match for path in paths if (match := _TYPES.match(path))}
    if not inside:
        return set()
    by_stem: dict[str, list[tuple[str, frozenset[str]]]] = {}
    for path in paths:
        if path not in inside and _SCRIPT.search(path) and kind_of(path) == "code":
            stems = _stems(path)
            for one in stems:
                by_stem.setdefault(one, []).append((path, stems))
    found = set()
    for path, match in inside.items():
        own = _stems(path)
        others = by_stem.get(min(own), []) if own else []
        if any(other.startswith(match["around"]) and own <= stems for other, stems in others):
            found.add(path)
    return found


def _stems(path: str) -> frozenset[str]:
    """The stems of the name of a file without its endings."""
    return frozenset(map(stem, parts_of(path.rpartition("/")[2].partition(".")[0])))


def names_version(query: str, path: str) -> bool:
    """Whether a query names the version that a path is of."""
    version = _VERSION.search(path)
    return version is not None and version.group().lower() in query.lower().split()


def _older(paths: Collection[str]) -> set[str]:
    """The paths that have a newer version beside them."""
    versions: dict[tuple[str, str], dict[tuple, list[str]]] = {}  # by what stands around the version in their common folder
    for path in paths:
        if in_name := _VERSION.search(path):
            rest = path[in_name.end() :].partition("/")[0]
            versions.setdefault((path[: in_name.start()], rest), {}).setdefault(_order(in_name), []).append(path)
    older, present = set(), set(paths)
    for of_one in versions.values():
        newest = max(of_one)
        every = [path for own in of_one.values() for path in own]
        copies = sum(_VERSION.sub("", path, 1).replace("//", "/").lstrip("/") in present for path in every)
        older.update(path for version, own in of_one.items() if version != newest or 2 * copies >= len(every) for path in own)
    return older


def _order(version: re.Match) -> tuple:
    """A version as what sorts by age: v1beta1 is older than v1."""
    number = tuple(map(int, (version["number"] or version["folder"]).split(".")))
    return number, (version["before"] or "~").lower()


def order_of(kind: str) -> int:
    """Rank of a file in the order of encoding: code first, then tests and examples, then the rest."""
    return _FIRST[kind]


CONTENTS = ("code", "docs", "config")


@lru_cache(maxsize=65_536)
def content_of(path: str) -> str:
    """The content of a file, in any folder: "code", "docs" (prose) or "config" (settings and data)."""
    if language_of(path) or _CODE.search(path):
        return "code"
    return "docs" if _DOCS.search(path) else "config"
