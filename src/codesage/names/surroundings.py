"""The tokens of a file, and features of the code around the occurrences of a name.

In: a file with its names. Out: for one of its units, a set of features: hashes of the tokens beside each occurrence, of the
call it is passed to, of the value it gets, of its type, of the words near it. The name itself is replaced by a hole, and
comments and documentation are left out. Works on tokens, so it is the same for all nine languages and for broken files.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from zlib import crc32

from codesage.names.units import Unit
from codesage.names.words import taken
from codesage.syntax.tree import SourceTree
from codesage.words import split_words

HOLE, TEXT, BREAK, END = "_", '""', "\n", ""
_MOST_OCCURRENCES = 12  # of a name that are looked at
_NEAR = 8  # tokens on each side whose words count
_BODY = 60  # tokens after the definition of a function or class whose words count
_OPERATORS = rb"->|=>|::|:=|\?\.|==|!=|<=|>=|&&|\|\||\+\+|--|\.\.\.|<<|>>|[-+*/%|&^]=|[^\s\w]"
_WORD = rb"[A-Za-z_\x80-\xff][\w\x80-\xff]*"
_QUOTED = rb"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`"
_COMMENTS = {
    "python": rb"#[^\n]*|\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''",
    "ruby": rb"#[^\n]*|^=begin.*?^=end",
    "php": rb"//[^\n]*|/\*.*?\*/|#(?!\[)[^\n]*",
}
_SLASHES = rb"//[^\n]*|/\*.*?\*/"
_LINES_END = {"python", "ruby", "go"}  # a line break ends a statement
_OPEN, _CLOSE = {"(", "[", "{"}, {")", "]", "}"}
DOTS = frozenset((".", "->", "::", "?."))
DEFINING = frozenset("def function func class interface struct enum trait module type".split())


@cache
def _lexer(language: str) -> re.Pattern:
    lines = rb"\n" if language in _LINES_END else rb"(?!)"
    parts = (_COMMENTS.get(language, _SLASHES), _QUOTED, _WORD, rb"\d[\w.]*", lines, _OPERATORS)
    return re.compile(b"|".join(b"(" + part + b")" for part in parts), re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Places:
    """Where names stand, the tokens of each in order."""

    calls: dict[str, list[int]]  # the brackets that open its calls and its parameters
    bare: dict[str, list[int]]
    dotted: dict[str, list[int]]  # after a dot


@dataclass(slots=True)
class Tokens:
    """The tokens of a file: words and operators as they are, short strings with their quotes, numbers as 0."""

    language: str
    texts: list[str]
    starts: list[int]  # first bytes
    partner: dict[int, int]  # brackets that belong together, both ways
    opened: list[int]  # the innermost bracket around each token; -1: none
    defined: list[int]  # where the name of the last definition before each token stands; -1: none
    words: frozenset[str]  # of the language
    _places: Places | None = field(default=None, init=False)

    def at(self, start: int) -> int:
        """The number of the token at a byte; -1 where none starts."""
        place = bisect_left(self.starts, start)
        return place if place < len(self.starts) and self.starts[place] == start else -1

    def show(self, unit: Unit, name: str) -> None:
        """Write `name`, or HOLE, for a unit from now on."""
        for start, _ in unit.spans:
            if (place := self.at(start)) >= 0:
                self.texts[place] = name
        self._places = None

    @property
    def places(self) -> Places:
        """Where names stand now. Collected when it is asked for, so it costs nothing to show many names in a row."""
        if self._places is None:
            self._places = _places(self.texts, self.words)
        return self._places

    def after(self, byte: int) -> int:
        """The number of the first token that starts at a byte or after it."""
        return bisect_left(self.starts, byte)


def tokens_of(tree: SourceTree) -> Tokens:
    """The tokens of a file, without comments and documentation."""
    texts: list[str] = []
    starts: list[int] = []
    for token in _lexer(tree.language).finditer(tree.source):
        kind = token.lastindex
        if kind == 1 or (kind == 5 and (not texts or texts[-1] == BREAK)):
            continue
        text = token.group().decode("utf-8", "replace")
        if kind == 2:
            text = f'"{text[1:-1]}"' if re.fullmatch(r"[\w.\- ]{1,24}", text[1:-1]) else TEXT
        texts.append("0" if kind == 4 else text)
        starts.append(token.start())
    partner, opened = _brackets(texts)
    words = taken(tree.language)
    return Tokens(tree.language, texts, starts, partner, opened, _defined(texts, partner, words), words)


def without_comments(tree: SourceTree) -> bytes:
    """The source with spaces in place of comments and the text of documentation, so that every byte keeps its place."""
    source = bytearray(tree.source)
    for token in _lexer(tree.language).finditer(tree.source):
        if token.lastindex == 1:
            quotes = 3 if token.group().startswith((b'"', b"'")) else 0
            for place in range(token.start() + quotes, token.end() - quotes):
                source[place] = source[place] if source[place] == 10 else 32
    return bytes(source)


def _places(texts: Sequence[str], words: frozenset[str]) -> Places:
    calls: dict[str, list[int]] = {}
    bare: dict[str, list[int]] = {}
    dotted: dict[str, list[int]] = {}
    before = END
    for place, text in enumerate(texts):
        if text.isidentifier():
            (dotted if before in DOTS else bare).setdefault(text, []).append(place)
        elif text == "(" and before.isidentifier() and before not in words:
            calls.setdefault(before, []).append(place)
        before = text
    return Places(calls, bare, dotted)


def _brackets(texts: Sequence[str]) -> tuple[dict[int, int], list[int]]:
    stack, partner, opened = [-1], {}, []
    for place, text in enumerate(texts):
        if text in _CLOSE and len(stack) > 1:
            partner[stack[-1]], partner[place] = place, stack[-1]
            stack.pop()
        opened.append(stack[-1])
        if text in _OPEN:
            stack.append(place)
    return partner, opened


def _defined(texts: Sequence[str], partner: dict[int, int], words: frozenset[str]) -> list[int]:
    """For each token, where the name of the last definition that begins before it stands; -1: nowhere.

    A definition is a name after a word that begins definitions, or one with a list of parameters and a body.
    """
    last, defined = -1, []
    for place, text in enumerate(texts):
        if text.isidentifier() and text not in words:
            before, after = texts[place - 1] if place else END, texts[place + 1] if place + 1 < len(texts) else END
            method = before == ")" and texts[partner.get(place - 1, 0) - 1] == "func"  # func (receiver) name
            closed = partner.get(place + 1, len(texts)) + 1 if after == "(" else len(texts)
            if method or before in DEFINING or (closed < len(texts) and texts[closed] in ("{", "throws")):
                last = place
        defined.append(last)
    return defined


class Occurrences:
    """The tokens of a file as they look when one unit is hidden."""

    def __init__(self, tokens: Tokens, unit: Unit) -> None:
        self.tokens, self.unit = tokens, unit
        places = [tokens.at(start) for start, _ in unit.spans]
        self.hidden = {place for place in places if place >= 0}
        self.places = _spread(sorted(self.hidden), _MOST_OCCURRENCES)

    def text(self, place: int) -> str:
        """The token at a place: the hole for the name, END outside of the file."""
        if place in self.hidden:
            return HOLE
        return self.tokens.texts[place] if 0 <= place < len(self.tokens.texts) else END

    def inside(self, places: Sequence[int]) -> bool:
        """Whether one of `places`, in order, is in the scope of the unit and is not an occurrence of it."""
        first, end = (bisect_left(places, self.tokens.after(byte)) for byte in self.unit.scope)
        return any(places[number] not in self.hidden for number in range(first, end))

    def chain(self, place: int, step: int) -> list[str]:
        """The words of `a.b->c` that begin (step 1) or end (step -1) at a place, in the order of the text."""
        words: list[str] = []
        while len(words) < 5:
            text = self.text(place)
            if not (text[:1].isalpha() or text[:1] == "_" or text == HOLE):
                break
            words.append(text)
            if self.text(place + step) not in DOTS:
                break
            place += 2 * step
            if self.text(place) in ("$", "@"):
                place += step
        return words if step > 0 else words[::-1]

    def callee(self, place: int) -> tuple[list[str], int]:
        """What is called with this place among its arguments, and the number of the argument; ([], 0) elsewhere."""
        bracket = self.tokens.opened[place]
        if bracket < 1 or self.tokens.texts[bracket] != "(":
            return [], 0
        number, at = 0, place
        while at > bracket and place - at < 200:
            at -= 1
            if self.tokens.texts[at] in _CLOSE:
                at = self.tokens.partner.get(at, at)
            number += self.tokens.texts[at] == ","
        return self.chain(bracket - 1, -1), number


def _spread(places: list[int], most: int) -> list[int]:
    """At most `most` of the places, evenly spread, the first among them."""
    if len(places) <= most:
        return places
    return [places[number * len(places) // most] for number in range(most)]


def features(around: Occurrences) -> list[int]:
    """The features of a hidden name, as 32-bit hashes, without duplicates, in the order of the text."""
    language, kind = around.tokens.language, around.unit.kind
    result = {f"k {language} {kind}": None}
    for place in around.places:
        result.update(dict.fromkeys(f"{language} {one}" for one in _beside(around, place)))
        result.update(dict.fromkeys(_shared(around, place)))
    result.update(dict.fromkeys(f"{kind} {language} {one}" for one in _counts(around)))
    if kind in ("class", "function"):
        result.update(dict.fromkeys(_body(around)))
    return [crc32(one.encode()) for one in result]


def _counts(around: Occurrences) -> Iterator[str]:
    yield f"#{min(len(around.hidden), 4)}"


def _beside(around: Occurrences, place: int) -> Iterator[str]:
    """Tokens beside a place, one to three on each side and on both."""
    before = [around.text(place - step) for step in (1, 2, 3)]
    after = [around.text(place + step) for step in (1, 2, 3, 4)]
    kind = around.unit.kind[0]
    yield f"{kind}<{before[0]}"
    yield f"{kind}>{after[0]}"
    yield f"<{before[1]} {before[0]}"
    yield f"<{before[2]} {before[1]} {before[0]}"
    yield f">{after[0]} {after[1]}"
    yield f">{after[0]} {after[1]} {after[2]}"
    yield f">{after[0]} {after[1]} {after[2]} {after[3]}"
    yield f"{before[0]}_{after[0]}"
    yield f"{before[1]} {before[0]}_{after[0]}"
    yield f"{before[0]}_{after[0]} {after[1]}"
    yield f"{before[1]} {before[0]}_{after[0]} {after[1]}"
    if before[0] in DOTS:
        yield f".{before[1]}"
    if after[0] in DOTS or after[0] == "[":
        yield f"{after[0]}{after[1]}"


def _shared(around: Occurrences, place: int) -> Iterator[str]:
    """Features that work in every language: calls, values, and words nearby."""
    kind = around.unit.kind
    called, number = around.callee(place)
    if called:
        yield f"a{number} {called[-1]}"
        yield from (f"aw {word}" for word in split_words(called[-1]))
    if around.text(place + 1) in ("=", ":=", ":", "=>"):
        value = around.chain(place + 2, 1)
        if value:
            yield f"v {value[-1]}"
            yield from (f"vw {word}" for word in split_words(value[-1]))
        elif around.text(place + 2) in ("0", "[", "{", TEXT) or around.text(place + 2).startswith('"'):
            yield f"v {around.text(place + 2)}"
    if around.text(place - 1) in ("=", ":", "=>"):
        yield from (f"to {word}" for word in around.chain(place - 2, -1)[-1:])
    yield from (f"in {kind} {word}" for word in split_words(around.text(around.tokens.defined[place])))
    for step in (-1, 1):
        for distance in range(1, _NEAR + 1):
            text = around.text(place + step * distance)
            if text == END:
                break
            if text != HOLE and (text[0].isalpha() or text[0] in '"_') and text not in around.tokens.words:
                yield from (f"n {kind} {word}" for word in split_words(text))


def _body(around: Occurrences) -> Iterator[str]:
    """The words after the first occurrence of a function or class, which mostly is its definition."""
    first = around.places[0] if around.places else 0
    for place in range(first + 1, first + _BODY):
        text = around.text(place)
        if len(text) > 1 and text[0].isalpha():
            yield f"b {around.unit.kind} {text}"
            if text not in around.tokens.words:
                yield from (f"b {around.unit.kind} {word}" for word in split_words(text))
