"""Functions to (text, code) pairs: the pair rules of the paper (section 2.2), each drop under a name.

In order: text is the first sentence of the docstring; URLs, HTML and doc tags stripped and bad Unicode repaired;
dropped when not English, when under 3 or over 256 tokens (words and marks), when the body has one line or less or
nothing is left of it without its returns. The language check, the sentence splitter and the place of the stripping
(before the lengths are counted) are our choices, the paper names none.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress

from codesage.records import Document, Function, Pair

MIN_TOKENS, MAX_TOKENS = 3, 256
DROPS = ("no docstring", "class", "no sentence", "not English", "too short", "too long", "one line", "only returns")

_TOKEN = re.compile(r"\w+|[^\w\s]")
_TAG_LINE = re.compile(
    r"^\s*(?:[@\\:]\w+|(?:Args?|Arguments|Parameters?|Params|Returns?|Yields?|Raises|Throws|Examples?|Notes?|See Also|"
    r"Attributes|Usage|Warnings?|References)\s*:?\s*$|[-=~*^`]{3,}\s*$|>>> |\.\. )"
)
_SIGNATURE = re.compile(r"^[\w.]+\s*\([^)]*\)\s*(?:->.*)?$", re.DOTALL)
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|al|approx|resp|Dr|Mr|Ms|St|No|Fig|Eq|Sec|incl|[A-Za-z])|\.\.)\.$"
)
_SENTENCE_END = re.compile(r"[.!?](?=\s+[\"'(`A-Z]|\s*$)")
_CLEANING = (
    (re.compile(r"<summary>\s*(.*?)\s*</summary>.*", re.DOTALL), r"\1"),
    (re.compile(r"<(?:see|seealso|paramref|typeparamref)\s+\w+=\"(?:\w:)?([^\"]*)\"\s*/>"), r"\1"),
    (re.compile(r"\{@\w+\s+([^}]*)\}"), r"\1"),
    (re.compile(r":[\w:]+:`~?([^`<]*?)\s*(?:<[^`]*>)?`"), r"\1"),
    (re.compile(r"https?://\S+|www\.\S+"), ""),
    (re.compile(r"</?[A-Za-z][^<>]{0,200}>"), ""),
    (re.compile(r"`+"), ""),
)
_ENGLISH, _FOREIGN = (
    frozenset(re.findall(r"\S+", words))
    for words in (
        "a an the of to in is are be for from and or if with this that by on as it not given when",
        "der die das und ein eine für mit von ist nicht le la les des une est pour dans avec qui el los las una para con "
        "por del que een het van voor niet il lo gli di che per non da um uma não é na do em si se jest dla",
    )
)


def pairs_of(
    functions: Iterable[Function], document: Document, drops: Counter, *, classes: bool = False
) -> Iterator[Pair]:
    """The pairs of one document's definitions; what is left out is counted in `drops` under one of DROPS."""
    for function in functions:
        reason, text = _judge(function, classes)
        if reason:
            drops[reason] += 1
            continue
        yield Pair(
            text=text,
            code=function.signature + function.body,
            bare_body=function.bare_body,
            language=function.language,
            name=f"{function.parent}.{function.name}" if function.parent else function.name,
            kind=function.kind,
            path=document.path,
            start_line=function.start_line,
            package=document.package,
            version=document.version,
            licence=document.licence,
        )


def _judge(function: Function, classes: bool) -> tuple[str, str]:
    if function.kind == "class" and not classes:
        return "class", ""
    if not function.docstring:
        return "no docstring", ""
    text = clean(first_sentence(function.docstring))
    if not text:
        return "no sentence", ""
    if not is_english(text):
        return "not English", ""
    tokens = len(_TOKEN.findall(text))
    if tokens < MIN_TOKENS:
        return "too short", ""
    if tokens > MAX_TOKENS:
        return "too long", ""
    if len([line for line in function.body.strip("{} \t\r\n").splitlines() if line.strip()]) <= 1:
        return "one line", ""
    return ("", text) if function.bare_body.strip() else ("only returns", "")


def first_sentence(docstring: str) -> str:
    """The first sentence of a docstring: of its first paragraph, before any doc tag, on one line.

    A first paragraph that only repeats the signature (C extensions) is passed over. "" when there is none.
    """
    docstring = _CLEANING[0][0].sub(r"\1", docstring)
    for paragraph in re.split(r"\n\s*\n", docstring.strip()):
        lines = []
        for line in paragraph.splitlines():
            if _TAG_LINE.match(line):
                break
            lines.append(line.strip())
        text = " ".join(lines).strip()
        if not text or _SIGNATURE.match(text):
            if lines or not paragraph.strip():
                continue
            return ""
        for match in _SENTENCE_END.finditer(text):
            if not _ABBREVIATION.search(text[: match.end()]):
                return text[: match.end()]
        return text
    return ""


def clean(text: str) -> str:
    """Strip URLs, HTML tags and doc tags, repair Unicode, collapse white space, drop the final stop."""
    text = repair_unicode(text)
    for pattern, replacement in _CLEANING[1:]:
        text = pattern.sub(replacement, text)
    return " ".join(text.split()).rstrip(". ").lstrip("-–—:* ")


def repair_unicode(text: str) -> str:
    """Undo UTF-8 read as Windows-1252 where that is reversible, normalise to NFC, drop control characters."""
    if any(mark in text for mark in ("Ã", "â€", "Â")):
        with suppress(UnicodeError):  # not that kind of damage: the text stays as it is
            text = text.encode("cp1252").decode("utf-8")
    text = unicodedata.normalize("NFC", text).replace("\ufffd", "")
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c)[0] != "C")


def is_english(text: str) -> bool:
    """Whether a short summary reads as English: Latin letters, and no foreign function words outnumbering English.

    Meant not to lose terse summaries ("Return the sum"); text in Latin script without function words passes.
    """
    letters = [c for c in text if c.isalpha()]
    if not letters or sum(c.isascii() for c in letters) < 0.9 * len(letters):
        return False
    words = re.findall(r"[^\W\d_]+", text.lower())
    foreign = sum(word in _FOREIGN for word in words)
    return foreign < 2 or foreign <= sum(word in _ENGLISH for word in words)
