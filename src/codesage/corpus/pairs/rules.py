"""Functions and classes to (text, code) pairs: the pair rules of the paper (section 2.2), each drop under a name.

In order: text is the first sentence of the docstring, with URLs, HTML and doc tags stripped and bad Unicode repaired;
dropped when it is code or says nothing, when not English, when under 3 or over 256 tokens (words and marks), when the
body has one line or less or nothing is left of it without its returns. The language check, the sentence splitter and
the place of the stripping (before the lengths are counted) are our choices, the paper names none.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from codesage.corpus.pairs.prose import count_tokens, description, is_code, is_english, says_nothing, summary
from codesage.records import Document, Function, Pair

MIN_TOKENS, MAX_TOKENS = 3, 256
DROPS = ("class", "no docstring", "no sentence", "says nothing", "code", "not English", "too short", "too long",
         "one line", "only returns")  # fmt: skip


def pairs_of(functions: Iterable[Function], document: Document, drops: Counter, *, classes: bool = False) -> Iterator[Pair]:
    """The pairs of one document's definitions; what is left out is counted in `drops` under one of DROPS.

    With `classes` those of classes too (as V2 of the published models): the code is the class, the bare body its body.
    """
    for function in functions:
        if function.kind == "class" and not classes:
            drops["class"] += 1
            continue
        text, reason = "", "no docstring"
        if function.docstring:
            text = summary(function.docstring, function.language)
            reason = refusal(text) or _body_refusal(function)
            if reason == "no sentence" and "inheritdoc" in function.docstring.lower():
                reason = "says nothing"
        if reason:
            drops[reason] += 1
            continue
        yield pair_of(function, document, text=text, description=description(function.docstring, function.language))


def pair_of(function: Function, document: Document, *, text: str, description: str = "", kind: str = "") -> Pair:
    """A pair of `text` and the whole definition, with where it came from; `kind` is the function's own when ""."""
    return Pair(
        text=text,
        code=function.signature + function.body,
        bare_body=function.bare_body,
        description=description,
        language=function.language,
        name=qualified(function),
        kind=kind or function.kind,
        path=document.path,
        start_line=function.start_line,
        package=document.package,
        version=document.version,
        licence=document.licence,
    )


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


def _body_refusal(function: Function) -> str:
    if not has_lines(function.body.strip("{} \t\r\n"), 2):
        return "one line"
    return "" if function.bare_body.strip() else "only returns"


def has_lines(code: str, least: int) -> bool:
    """Whether `code` has at least `least` lines that are not blank."""
    position, found = 0, 0
    while found < least and position < len(code):
        end = code.find("\n", position)
        end = len(code) if end < 0 else end
        found += bool(code[position:end].strip())
        position = end + 1
    return found >= least
