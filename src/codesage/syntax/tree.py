"""Parses a text into the syntax tree that functions() and identifiers() use.

tree-sitter's C library recurses for each level of nesting, and its error recovery can take seconds on text that is not code.
Hostile text is therefore refused before parsing: texts that are too large, with a line that is too long, or nested too deep.
A text that looks like no code is parsed with a limit of time, because the recovery can take quadratic time and memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from time import perf_counter, thread_time

import numpy as np
import tree_sitter

from codesage.errors import CodesageError
from codesage.languages import grammar_of

MAX_BYTES = 2_000_000
MAX_LINE = 100_000
MAX_NESTING = 1_000
MAX_SEARCHED = 100_000_000  # bytes; two seconds

_LEAST_SECONDS = 0.5  # of processor time that any text may take
_LEAST_SPEED = 1_000_000  # bytes per second of processor time above that; parsers read at least 7 million
_LEAST_TIMED = 1_000  # bytes; shorter texts take less time than the limit
_FIRST_TAIL = 512  # bytes
_SAMPLE = 250  # bytes at the end
_MOST_PUNCTUATION = 0.5  # of those that are not blanks
_MOST_LINES = 0.125  # line breaks for each of these bytes
_NO_WORDS = bytes(code for code in range(128) if not chr(code).isalnum() and chr(code) != "_")
_WORDS = bytes(set(range(256)) - set(_NO_WORDS)) + b" \t\r\n"

_COMMENTS = ((b"/*", b"*/"), (b"\n=begin", b"\n=end"))
_BRACKETS = b"()[]{}"
_NO_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_STEP = np.zeros(256, np.int8)
_STEP[list(b"([{")] = 1
_STEP[list(b")]}")] = -1


class ParseRefused(CodesageError):
    """A text that must not be parsed; `reason` is "size", "line", "nesting" or "time"."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SourceTree:
    """A parsed text: its UTF-8 bytes, its tree-sitter tree, its language, and whether TypeScript is in the TSX dialect."""

    source: bytes
    tree: tree_sitter.Tree
    language: str
    tsx: bool = False
    _path: list[tree_sitter.Node] = field(default_factory=list, init=False, repr=False, compare=False)  # around the last node

    @property
    def has_errors(self) -> bool:
        """Whether the text has syntax errors; the tree has the parts that the parser recovered."""
        return self.tree.root_node.has_error

    @property
    def error_share(self) -> float:
        """The share of the bytes that the parser could not read, from 0 to 1. It takes time linear in the tree."""
        wrong, open_nodes = 0, [self.tree.root_node]
        while open_nodes:
            node = open_nodes.pop()
            if node.is_error:
                wrong += node.end_byte - node.start_byte
            elif node.has_error:
                open_nodes += node.children
        return wrong / max(1, len(self.source))

    def errors(self) -> list[tree_sitter.Node]:
        """The nodes of text that the parser skipped, and of tokens that it inserted. Only nodes with errors are looked into."""
        found, open_nodes = [], [self.tree.root_node]
        while open_nodes:
            node = open_nodes.pop()
            if node.is_error or node.is_missing:
                found.append(node)
            if node.has_error:
                open_nodes += node.children
        return found

    def nodes(self) -> Iterator[tree_sitter.Node]:
        """All nodes, each before its children, in source order."""
        cursor = self.tree.walk()
        while (node := cursor.node) is not None:
            yield node
            if cursor.goto_first_child() or cursor.goto_next_sibling():
                continue
            while cursor.goto_parent():
                if cursor.goto_next_sibling():
                    break
            else:
                return

    def parent(self, node: tree_sitter.Node) -> tree_sitter.Node | None:
        """The node that `node` is a child of; None for the root.

        tree-sitter walks from the root to `node` for this, n steps if it is n levels deep. Here only the way from the last node
        that was asked for is walked, so nodes in the order of the text take time linear in the tree, however deep it is.
        """
        path, start, end = self._path_around(node.start_byte, node.end_byte), node.start_byte, node.end_byte
        place = len(path) - 1
        while place >= 0 and path[place].start_byte == start and path[place].end_byte == end:
            if path[place] == node:
                del path[place:]
                return path[-1] if path else None
            place -= 1
        while (inner := path[-1].child_with_descendant(node)) is not None and inner != node:
            path.append(inner)
        return path[-1]

    def at(self, start: int) -> tree_sitter.Node | None:
        """The innermost node that holds the byte `start`. As quick as `parent`."""
        return self._path_around(start, start + 1)[-1].descendant_for_byte_range(start, start + 1)

    def _path_around(self, start: int, end: int) -> list[tree_sitter.Node]:
        """The path to the last node, cut to the nodes that hold these bytes; the root stays."""
        path = self._path or [self.tree.root_node]
        while len(path) > 1 and (path[-1].start_byte > start or path[-1].end_byte < end):
            path.pop()
        self._path[:] = path
        return self._path

    def captures(self, query: str) -> dict[str, list[tree_sitter.Node]]:
        """Nodes of the whole tree by the capture names of a tree-sitter query, each list in source order."""
        captures = self.unsorted_captures(query)
        for nodes in captures.values():
            nodes.sort(key=lambda node: (node.start_byte, -node.end_byte))
        return captures

    def unsorted_captures(self, query: str) -> dict[str, list[tree_sitter.Node]]:
        """Like captures(), in no particular order, for callers that sort later."""
        return tree_sitter.QueryCursor(_compiled(self.language, self.tsx, query)).captures(self.tree.root_node)

    def text(self, node: tree_sitter.Node | None) -> str:
        """Source text of a node; "" for None."""
        return "" if node is None else self.source[node.start_byte : node.end_byte].decode("utf-8", "replace")


def parse(text: str, language: str, *, tsx: bool = False, max_line: int = MAX_LINE, timed: bool = False) -> SourceTree:
    """Parse `text` as one of languages.LANGUAGES. The parser recovers from syntax errors.

    Raises ParseRefused ("size": over 2 MB; "line": a line over `max_line` bytes; "nesting": over 1,000 open brackets or levels
    of indentation, or many comments that are never closed; "time": see `tree_of`), and KeyError for an unknown language.
    """
    source = text.encode("utf-8", "replace")
    screen(source, max_line=max_line)
    return SourceTree(source, tree_of(source, _parser(language, tsx), timed=timed), language, tsx)


def tree_of(source: bytes, parser: tree_sitter.Parser, *, timed: bool = False) -> tree_sitter.Tree:
    """The tree of a text. Raises ParseRefused ("time") if it takes over 0.5 s of processor time, and 1 s for each megabyte.

    The limit costs time itself. It holds for texts that look like no code, and for all if they are `timed`.
    """
    odd = len(source) >= _LEAST_TIMED and _is_odd(source)
    if len(source) < _LEAST_TIMED or not (timed or odd):
        return parser.parse(source)
    if odd:
        _require_quick_end(source, parser)
    _, tree = _timed(source, parser)
    if tree is None:
        raise _too_slow(len(source))
    return tree


def _require_quick_end(source: bytes, parser: tree_sitter.Parser) -> None:
    """ParseRefused for a text that would take too long at its end.

    At the end of a text that is one error, the parser takes quadratic time and memory in one step, which nothing can stop. The
    end of the text is therefore parsed alone first, in doubling lengths, as long as the next one cannot take too long.
    """
    size, text = _FIRST_TAIL, source.rstrip()
    length, before = len(text), 0.0
    while size < length:
        start = length - size
        seconds, _ = _timed(text[text.find(b"\n", start, start + size // 2) + 1 or start :], parser)
        longer = min(2 * size, length)
        if seconds * (longer / size) ** 2 > _limit(longer):
            raise _too_slow(length)
        if size * 16 >= length and max(4 * before, seconds) * (length / size) ** 2 < _LEAST_SECONDS:
            return  # two ends, as where a text begins can make it quick
        size, before = 2 * size, seconds


def _limit(length: int) -> float:
    return _LEAST_SECONDS + length / _LEAST_SPEED


def _timed(source: bytes, parser: tree_sitter.Parser) -> tuple[float, tree_sitter.Tree | None]:
    """The seconds of processor time that a parse took, and its tree; None if it was stopped at the limit."""
    limit = _limit(len(source))
    began, earliest = thread_time(), perf_counter() + limit

    def over(_offset: int, _has_error: bool) -> bool:
        return perf_counter() > earliest and thread_time() - began > limit  # the second clock costs a system call

    try:
        tree = parser.parse(lambda offset, _point: source[offset : offset + 65_536], progress_callback=over)
    except ValueError:  # stopped
        parser.reset()  # or it would go on with this text
        tree = None
    return thread_time() - began, tree


def _too_slow(length: int) -> ParseRefused:
    return ParseRefused("time", f"text takes over {_limit(length):.1f} s to parse: it has too many syntax errors")


def _is_odd(source: bytes) -> bool:
    """Whether the end of a text is mostly punctuation or very short lines."""
    end = source.rstrip()[-_SAMPLE:]
    marks = len(end.translate(None, _WORDS))
    return marks > _MOST_PUNCTUATION * (marks + len(end.translate(None, _NO_WORDS))) or end.count(b"\n") > _MOST_LINES * _SAMPLE


def screen(source: bytes, *, max_line: int = MAX_LINE) -> None:
    """Raise ParseRefused for a text that must not be parsed."""
    if len(source) > MAX_BYTES:
        raise ParseRefused("size", f"text of {len(source):,} bytes is over the limit of {MAX_BYTES:,}: split the file")
    if _has_long_line(source, max_line):
        longest = max(map(len, source.split(b"\n")))
        raise ParseRefused("line", f"line of {longest:,} bytes is over the limit of {max_line:,}: format the file")
    if _brackets(source) > MAX_NESTING or _indentation(source) > MAX_NESTING:
        raise ParseRefused("nesting", f"text is nested more than {MAX_NESTING:,} levels deep")
    if _searched(source) > MAX_SEARCHED:
        raise ParseRefused("nesting", "text has too many comments that are never closed")


def _has_long_line(source: bytes, most: int) -> bool:
    """Whether a line has over `most` bytes. Jumps by at most that many bytes, each time to the last line break."""
    start = 0
    while len(source) - start > most:
        start = source.rfind(b"\n", start, start + most + 1) + 1
        if not start:
            return True
    return False


def _searched(source: bytes) -> int:
    """How many bytes a parser passes in search of the ends of comments that are never closed: it reads on from each of them."""
    if len(source) < 14_000:  # n bytes have at most n / 2 beginnings of comments
        return 0
    searched = 0
    for opening, closing in _COMMENTS:
        if opening in source:
            last = source.rfind(closing) + 1
            searched = max(searched, source.count(opening, last) * (len(source) - last))
    return searched


def _brackets(source: bytes) -> int:
    """The largest number of open brackets, or 0 if there are too few brackets to matter."""
    brackets = source.translate(None, _NO_BRACKETS)  # one byte in twenty remains
    if len(brackets) <= MAX_NESTING:
        return 0
    return int(np.cumsum(_STEP[np.frombuffer(brackets, np.uint8)], dtype=np.int32).max())


def _indentation(source: bytes) -> int:
    """Levels of indentation: the largest number of lines in a row that are each indented deeper than the one before."""
    if len(source) < MAX_NESTING * MAX_NESTING // 2:  # a staircase of n levels has at least n * n / 2 bytes
        return 0
    data = np.frombuffer(source, np.uint8)
    edges = np.concatenate(([-1], np.flatnonzero(data == 10), [len(data)]))
    blank = (data == 32) | (data == 9)
    word = np.flatnonzero(~blank)
    starts = edges[:-1] + 1
    after = np.searchsorted(word, starts)
    first = np.where(after < len(word), word[np.minimum(after, len(word) - 1)], len(data))
    indent = np.minimum(first, edges[1:]) - starts
    deeper = np.diff(indent[indent < edges[1:] - starts]) > 0  # blank lines do not count
    stops = np.flatnonzero(np.concatenate(([True], ~deeper, [True])))
    return int(np.diff(stops).max())


@cache
def _parser(language: str, tsx: bool) -> tree_sitter.Parser:
    return tree_sitter.Parser(grammar_of(language, tsx=tsx))


@cache
def _compiled(language: str, tsx: bool, query: str) -> tree_sitter.Query:
    return tree_sitter.Query(grammar_of(language, tsx=tsx), query)
