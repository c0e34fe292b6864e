"""Functions and classes to (text, code) pairs: the pair rules of the paper (section 2.2), each drop under a name.

In order: the text is the first sentence of the docstring, with URLs, HTML and doc tags stripped and bad Unicode
repaired. A pair is dropped when the text is code or says nothing, is not English, or has under 3 or over 256 tokens
(words and marks); when the body has one line of code or less (lines.py); when nothing is left of it without its returns;
when it only raises an error. The language check, the sentence splitter, what counts as a line, the last rule and the
place of the stripping (before the lengths are counted) are our choices, the paper names none.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from codesage.corpus.pairs.lines import has_lines
from codesage.corpus.pairs.prose import count_tokens, description, is_code, is_english, says_nothing, summary
from codesage.corpus.pairs.templates import is_title
from codesage.records import Document, Function, Pair

MIN_TOKENS, MAX_TOKENS = 3, 256
DROPS = ("class", "no docstring", "no sentence", "says nothing", "code", "not English", "too short", "too long",
         "one line", "only returns", "stub")  # fmt: skip
_RAISE = re.compile(r"(?:(?:#|//)[^\n]*\n\s*)*(?:raise|throw|panic)\b")
_ONLY_IF = re.compile(r"[\w)\"'\]]\s+(?:if|unless)\s")  # Ruby's modifiers


def pairs_of(functions: Iterable[Function], document: Document, drops: Counter, *, classes: bool = False) -> Iterator[Pair]:
    """The pairs of one document's definitions; what is left out is counted in `drops` under one of DROPS.

    With `classes` those of classes too (as V2 of the published models): the code is the class, the bare body its body.
    """
    for function in functions:
        found = "class" if function.kind == "class" and not classes else _pair(function, document)
        if isinstance(found, Pair):
            yield found
        else:
            drops[found] += 1


def _pair(function: Function, document: Document) -> Pair | str:
    """The pair of one definition, or why there is none: one of DROPS."""
    if not function.docstring:
        return "no docstring"
    text = summary(function.docstring, function.language, name=function.name)
    if reason := refusal(text):
        return "says nothing" if reason == "no sentence" and "inheritdoc" in function.docstring.lower() else reason
    if function.kind == "class" and function.language == "c" and is_title(text):  # of the table that a struct is
        return "says nothing"
    body = function.body
    if not has_lines(body, 2, function.language):
        return "one line"
    bare_body = function.bare_body
    if not has_lines(bare_body, 1, function.language):
        return "only returns"
    if function.kind == "function" and is_stub(bare_body):
        return "stub"
    return Pair(
        text=text, code=function.signature + body, bare_body=bare_body,
        description=description(function.docstring, function.language, name=function.name), language=function.language,
        name=qualified(function),
        kind=function.kind, path=document.path, start_line=function.start_line, package=document.package,
        version=document.version, licence=document.licence,
    )  # fmt: skip


def is_stub(bare_body: str) -> bool:
    """Whether a body only raises an error, always: what its documentation says is done elsewhere, or not at all."""
    start = _RAISE.match(bare_body)
    return start is not None and not _ONLY_IF.search(bare_body, start.end())


def qualified(function: Function) -> str:
    """`Parent.name`, or the name alone where there is no class around it."""
    return f"{function.parent}.{function.name}" if function.parent else function.name


def refusal(text: str) -> str:
    """Why a cleaned text may not stand beside code (one of DROPS), or "": the rules that look at the text alone."""
    if not text:
        return "no sentence"
    if says_nothing(text):
        return "says nothing"
    if is_code(text):
        return "code"
    if not is_english(text):
        return "not English"
    if len(text.split(maxsplit=MIN_TOKENS)) < MIN_TOKENS and count_tokens(text) < MIN_TOKENS:  # a word is a token at least
        return "too short"
    return "too long" if len(text) > MAX_TOKENS and count_tokens(text) > MAX_TOKENS else ""
