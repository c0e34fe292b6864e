"""Chunks of lines that only stand around code: imports, namespaces, conditions of a preprocessor, licences.

In: the text of a chunk. Out: whether it holds anything else. Such chunks lie before, after and between definitions. The name of
their file is in their vectors, so they often fit a question as well as the code below them, but they answer none.
"""

import re
from collections.abc import Sequence

_MOST = 4_000  # characters of a text that is looked at, which bounds the time for any text
_COMMENT = re.compile(r"/\*(?s:.*?)\*/|(?:^[ \t]*(?://|#(?!\w))[^\n]*(?:\n|\Z))+", re.MULTILINE)
_SAYS_NOTHING = re.compile(r"copyright|licen[cs]e|spdx|frozen_string_literal|coding[:=]|\A\s*#!", re.IGNORECASE)
_AROUND = re.compile(
    r"(?:[\s{};]++"
    r"|#[ \t]*(?:if|ifdef|ifndef|elif|elifdef|elifndef|else|endif|include|import|region|endregion|pragma|undef|nullable)\b"
    r"(?>(?:[^\n\\]|\\.|\\\n)*)"
    r"|<\?php\b|\?>|[\"']use strict[\"']"
    r"|(?:import|from|use|using|package|namespace|require|require_relative|require_once|include|include_once)\b"
    r"(?>[^\n;{}()]*)(?>(?:\{[^{}]*\}|\([^()]*\))?)(?>[^\n;{}()]*)"
    r")*+"
)
_ASKING = {"import", "imports", "imported", "include", "includes", "included", "require", "requires", "required", "namespace",
           "namespaces", "package", "packages", "license", "licence", "copyright", "macro", "macros", "ifdef"}  # fmt: skip


def stands_around(text: str) -> bool:
    """Whether a text holds nothing but lines that stand around code. Comments count as code, unless they are a licence."""
    if len(text) > _MOST:
        return False
    return _AROUND.fullmatch(_COMMENT.sub(lambda one: "" if _SAYS_NOTHING.search(one[0]) else one[0], text)) is not None


def asks_for_such(words: Sequence[str]) -> bool:
    """Whether the words of a query ask for such lines."""
    return not _ASKING.isdisjoint(words)
