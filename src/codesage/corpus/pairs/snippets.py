"""Parses pieces of code from documentation. They are often incomplete, and a fence may name the wrong language.

Templates of pages, rules of a build, prose and output stand in fences of another language too. Most of such a piece is syntax
errors, while a piece with omissions ("...") has few.
"""

import re
from functools import lru_cache

from codesage.syntax import ParseRefused, SourceTree, parse

_MOST_ERRORS = 0.2  # of the bytes of a piece; more, and it is in another language (docs/log.md)

_BUILD_RULE = re.compile(r"^(?:load\(\"(?:@|//|:)|(?!setup\()\w+\(\n\s+name = \")", re.MULTILINE)  # of Bazel


@lru_cache(maxsize=64)  # an article's code is parsed when it is chosen, as an example and as a sample, and to hide its names
def parsed(code: str, language: str) -> SourceTree | None:
    """The tree of a piece of code, or None if it must not be parsed. PHP needs no opening tag."""
    try:
        return parse("<?php " + code if language == "php" and "<?" not in code else code, language)
    except ParseRefused:
        return None


def is_foreign(code: str, language: str) -> bool:
    """Whether more than a fifth of a piece of code is syntax errors in `language`.

    JavaScript may have types, and TypeScript may have tags. Rules of Bazel can be read as Python, but are none.
    """
    if language == "python" and _BUILD_RULE.search(code):
        return True
    tree = parsed(code, language)
    if tree is None:
        return True
    if tree.error_share <= _MOST_ERRORS:
        return False
    if language not in ("javascript", "typescript"):
        return True
    try:
        return min(parse(code, "typescript", tsx=tsx).error_share for tsx in (False, True)) > _MOST_ERRORS
    except ParseRefused:  # what one grammar reads in time may take another too long
        return True
