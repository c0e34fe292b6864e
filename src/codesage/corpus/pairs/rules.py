"""Turns functions and classes into (text, code) pairs by the rules of the paper (section 2.2), and counts the drops.

The text is the first sentence of the docstring, without URLs, HTML and doc tags and with broken Unicode repaired. A pair is
dropped if the text is code, says nothing (templates.py, remarks.py, asides.py), is vague (vague.py), is not English, or has
fewer than 3 or more than 256 tokens (words and punctuation marks). It is also dropped if the body has at most one line of code
(lines.py), has nothing left without its returns, or only raises an error. The paper leaves some details open. Our choices are
the language check, what says nothing, what is vague, the sentence splitter, the definition of a line, the rule about errors,
and cleaning the text before its length is counted.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from codesage.corpus.pairs.asides import is_aside
from codesage.corpus.pairs.english import is_code, is_english
from codesage.corpus.pairs.lines import has_lines
from codesage.corpus.pairs.notes import is_note, is_plain
from codesage.corpus.pairs.openings import reads_name_aloud
from codesage.corpus.pairs.prose import count_tokens, description, summary
from codesage.corpus.pairs.remarks import (
    heads_section,
    is_about_parameter,
    is_bare,
    is_demand,
    is_label,
    is_of_class,
    is_remark,
    says_only_name,
)
from codesage.corpus.pairs.templates import is_banner, is_title, says_nothing
from codesage.corpus.pairs.vague import is_vague
from codesage.records import Document, Function, Pair

MIN_TOKENS, MAX_TOKENS = 3, 256
DROPS = (
    "no docstring",
    "no sentence",
    "says nothing",
    "note in a plain comment",
    "code",
    "not English",
    "too short",
    "too long",
    "one line",
    "only returns",
    "stub",
    "vague",
)
_RAISE = re.compile(r"(?:(?:#|//)[^\n]*\n\s*)*(?:raise|throw|panic)\b")
_ONLY_IF = re.compile(r"[\w)\"'\]]\s+(?:if|unless)\s")  # a modifier in Ruby


def pairs_of(functions: Iterable[Function], document: Document, drops: Counter) -> Iterator[Pair]:
    """Yields the pairs of one document's definitions. Each definition without a pair is counted in `drops` under one of DROPS.

    Classes give pairs too (as in V2 of the published models): the code is the class, the bare body its body.
    """
    for function in functions:
        outcome = _pair(function, document)
        if isinstance(outcome, Pair):
            yield outcome
        else:
            drops[outcome] += 1


def _pair(function: Function, document: Document) -> Pair | str:
    """The pair of one definition, or the reason why there is none (one of DROPS)."""
    if not function.docstring:
        return "no docstring"
    text = summary(function.docstring, function.language, name=function.name)
    if reason := refusal(text):
        return "says nothing" if reason == "no sentence" and "inheritdoc" in function.docstring.lower() else reason
    if _says_little(text, function):
        return "says nothing"
    if is_plain(function) and is_note(text, function.kind):
        return "note in a plain comment"
    body = function.body
    if not has_lines(body, 2, function.language):
        return "one line"
    bare_body = function.bare_body
    if not has_lines(bare_body, 1, function.language):
        return "only returns"
    if function.kind == "function" and is_stub(bare_body):
        return "stub"
    if function.kind == "function" and is_vague(text):
        return "vague"
    return Pair(
        text=text,
        code=function.signature + body,
        bare_body=bare_body,
        description=description(function.docstring, function.language, name=function.name),
        language=function.language,
        name=qualified(function),
        kind=function.kind,
        path=document.path,
        start_line=function.start_line,
        package=document.package,
        version=document.version,
        licence=document.licence,
    )


def _says_little(text: str, function: Function) -> bool:
    """Whether a text says too little: a title, label, remark, aside or name, or about a parameter or a constructor's class."""
    if function.kind == "class":
        titled = function.language == "c" and is_title(text)  # of the table that it describes
        if titled or is_bare(text):
            return True
    elif (
        is_about_parameter(text, function.signature.partition(function.name)[2])
        or heads_section(text, function.language)
        or is_label(text)
        or is_demand(text, function.name)
        or is_of_class(text, function.name, function.parent)
        or is_aside(text)
    ):
        return True
    if is_remark(text, function.kind) or says_only_name(text, function.name, function.parent, function.kind):
        return True
    return reads_name_aloud(text, function.name, function.parent)


def is_stub(bare_body: str) -> bool:
    """Whether a body only raises an error, without a condition. It then does not do what its documentation says."""
    start = _RAISE.match(bare_body)
    return start is not None and not _ONLY_IF.search(bare_body, start.end())


def qualified(function: Function) -> str:
    """`Parent.name`, or only the name if the function is not in a class."""
    return f"{function.parent}.{function.name}" if function.parent else function.name


def refusal(text: str) -> str:
    """Why a cleaned text cannot be the text of a pair (one of DROPS), or "". Only the text matters here."""
    if not text:
        return "no sentence"
    if " " not in text:  # a name, perhaps qualified
        return "too short"
    if says_nothing(text) or is_banner(text):
        return "says nothing"
    if is_code(text):
        return "code"
    if not is_english(text):
        return "not English"
    if len(text.split(maxsplit=MIN_TOKENS)) < MIN_TOKENS and count_tokens(text) < MIN_TOKENS:  # a word is at least one token
        return "too short"
    return "too long" if len(text) > MAX_TOKENS and count_tokens(text) > MAX_TOKENS else ""
