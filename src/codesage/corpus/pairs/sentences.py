"""Finds the first sentence of a paragraph.

A full stop may end a sentence or belong to an abbreviation or a number. The splitter checks the word before each stop and
the word after it. It takes time linear in the text.
"""

import re
from collections.abc import Callable

_STOP = re.compile(r"[.!?](?=[\s)\"'’”`*\]_]|$)[)\"'’”`*\]_]*(?=\s|$)|[。！？]")
_WHOLE_TAGS = ("{@return ", "{@summary ")  # Java's tags around a sentence, which has no full stop of its own
_BRACES = re.compile(r"[{}]")
_NEVER_ENDS = frozenset("e.g i.e s.t eg ie vs cf viz dr mr mrs ms prof approx resp incl excl a.k.a aka w.r.t wrt esp".split())
_SELDOM_ENDS = frozenset(  # these end a sentence only if the next word is one of _STARTERS
    "etc no al max min sec fig figs eq eqs inc ltd co corp st jr sr ver vol ch pp ed ref refs nr dept est orig temp "
    "jan feb mar apr jun jul aug sep sept oct nov dec u.s".split()
)
_STARTERS = frozenset(
    "a an the this that these those it its if when while for in on at to as by with without from otherwise note returns "
    "return use used uses also see we you they there here each all any only both one default defaults so then thus but "
    "however since because by after before until once unless not no every some called calls throws raises returned "
    "example examples warning todo".split()
)
_LOWER_STARTERS = frozenset(
    "this it if note returns return when otherwise use used also see we you they these the then".split()
)
_LINE_STARTS = frozenset(  # such a word at the start of a line, below a short line, begins a sentence
    "This The Returns Return Note If It When Use Used For In By See Also Only Otherwise These There Throws Called Default "
    "Calls Takes Sets Gets Raises".split()
)
_SURE_STARTS = frozenset(  # and these below a line of any width, since they are in capitals nowhere else
    "This If It When Note NOTE Returns Return See Also Only Otherwise These There They We You Throws Does Do However But "
    "Because Since Example Examples Warning WARNING TODO FIXME Will Should Assumes Caller Expects".split()
)
_NO_END = frozenset(
    "a an the of to in on for with by from and or as at is are be that which this if when per via see not into than then can "
    "will must may should was were has have".split()
)
_WIDTH = 60  # least number of columns in a line of running text
_LOOK = 40  # characters before and after a stop that are checked
_CLOSES_WITHIN = 200  # characters after a stop; a bracket that does not close within them is ignored


def first_sentence(text: str) -> str:
    """The first sentence of a paragraph with its full stop; the whole paragraph if no sentence ends in it."""
    if text.startswith(_WHOLE_TAGS) and (end := _closing(text)) > 0:
        return text[:end]
    if text.find(".") in (-1, len(text) - 1) and "? " not in text and "! " not in text and text.isascii():
        return text
    number = 0  # of the latest list item
    for match in _STOP.finditer(text):
        start, end = match.span()
        if text[start] in "。！？":
            return text[:end]
        rest = text[end : end + _LOOK].split(maxsplit=1)
        if not rest:
            return text[:end] if end - start == 1 or "(" not in text else text[:end].rstrip()
        before = text[max(0, start - _LOOK) : start]
        word = before.rsplit(None, 1)[-1].lstrip("([\"'`{*") if before and not before[-1].isspace() else ""
        if word.isdigit() and (int(word[-6:]) == number + 1 and _lists(text[: start - len(word)], number)):
            number += 1
        elif _ends(word, text[start], rest[0]) and not _is_inside(text, end):
            return text[:end]
    return text


def _closing(text: str) -> int:
    """The end of the inline tag that a text begins with, 0 if it is not closed. Braces nest."""
    depth = 0
    for match in _BRACES.finditer(text):
        depth += 1 if match.group() == "{" else -1
        if not depth:
            return match.end()
    return 0


def breaks_sentence(before: str, following: str, *, more: Callable[[str], bool] = lambda word: False) -> bool:
    """Whether the break between the lines `before` and `following` ends a sentence without a full stop.

    `more` tells of a capitalised word, here in lower case, whether it may begin a sentence below a short line.
    """
    word = following.partition(" ")[0].rstrip(",:")
    last = before.rpartition(" ")[2]
    if not (last[-1:].isalnum() or last[-1:] in (")", "`", "'", '"')) or last.lower() in _NO_END or not word[:1].isupper():
        return False
    if word in _SURE_STARTS and (last.islower() or word.isupper() or word == "It" or len(before) < _WIDTH):
        return True
    return len(before) < _WIDTH and (word in _LINE_STARTS or (word[1:].islower() and more(word.lower())))


def _lists(before: str, number: int) -> bool:
    """Whether a number after `before` is that of a list item: at the start, after a colon, or after another item."""
    return number > 0 or not before.strip() or before.rstrip()[-1] in ":;"


def _ends(word: str, stop: str, following: str) -> bool:
    """Whether the mark `stop` between `word` and `following` ends a sentence."""
    first = following.lstrip("\"'(`{<:@[*_“‘")[:1]
    if not first:
        return following[0] not in ":*"
    upper = first.isupper() or (first != following[0] and following[0] in "\"'(`{<[“") or first > "\u2e7f"
    if stop != ".":
        return upper
    lower = word.lower()
    starts = following.strip("\"'(`,:*").lower() in _STARTERS
    if lower in _NEVER_ENDS or word.endswith(".") or not word:
        return False
    if (len(word) == 1 and word.isalpha()) or lower in _SELDOM_ENDS:
        return upper and starts
    return upper or (len(word) > 2 and word.isalpha() and word.islower() and following.rstrip(",:") in _LOWER_STARTERS)


def _is_inside(text: str, end: int) -> bool:
    """Whether the stop before `end` is within brackets or an inline tag that close soon."""
    if "(" in text and text.count("(", 0, end) > text.count(")", 0, end):
        return ")" in text[end : end + _CLOSES_WITHIN]
    return "{@" in text and text.rfind("{@", 0, end) > text.rfind("}", 0, end) and "}" in text[end : end + _CLOSES_WITHIN]
