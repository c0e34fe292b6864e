"""What kind of file a path is, for ranking and for the order of encoding: code, or what stands beside code.

In: a path within the root. Out: "code", "test", "example", "generated", "vendored", "legacy", "docs" or "data". Names
decide, nothing is read.
"""

import re
from functools import lru_cache

from codesage.languages import language_of
from codesage.paths import is_test, kind_by_path

_TEST = re.compile(
    r"(^|/)(tests?|testing|specs?|benchmarks?|bench|fixtures?|mocks?|__mocks__|e2e)/|(^|/)tests?\.\w+$", re.IGNORECASE
)
_EXAMPLE = re.compile(r"(^|/)(examples?|samples?|demos?|docs_src|tutorials?|playground)/", re.IGNORECASE)
_LEGACY = re.compile(r"(^|[/_.-])(legacy|deprecated|compat|_?old|obsolete|v0|v[1-9])([/_.-]|$)", re.IGNORECASE)
_DOCS = re.compile(
    r"\.(md|markdown|mdx|rst|txt|adoc|org|tex|html?)$|(^|/)(docs?|changelog|readme|licen[cs]e|authors)(/|$)", re.IGNORECASE
)
_CODE = re.compile(
    r"\.(sh|bash|zsh|ps1|rs|kt|kts|scala|swift|lua|pl|pm|r|jl|ex|exs|erl|hs|ml|clj|dart|vue|svelte|sql|proto|cpp"
    r"|cc|cxx|hpp|hh|m|mm|fs|vb|zig|nim|elm|ipynb)$",
    re.IGNORECASE,
)
_FIRST = {"code": 0, "example": 1, "test": 1, "legacy": 1, "generated": 2, "vendored": 2, "docs": 2, "data": 3}


@lru_cache(maxsize=65_536)
def kind_of(path: str) -> str:
    """The kind of one file."""
    found = kind_by_path(path)
    if found in ("vendored", "generated", "minified"):
        return "vendored" if found == "vendored" else "generated"
    if is_test(path) or _TEST.search(path):
        return "test"
    if _EXAMPLE.search(path):
        return "example"
    code = language_of(path) or _CODE.search(path)
    if not code:
        return "docs" if _DOCS.search(path) else "data"
    return "legacy" if _LEGACY.search(path) else "code"


def order_of(kind: str) -> int:
    """What is encoded first: code, then tests and examples, then the rest."""
    return _FIRST[kind]


CONTENTS = ("code", "docs", "config")


@lru_cache(maxsize=65_536)
def content_of(path: str) -> str:
    """What a file holds, wherever it stands: "code", "docs" (prose) or "config" (settings and data)."""
    if language_of(path) or _CODE.search(path):
        return "code"
    return "docs" if _DOCS.search(path) else "config"
