"""Decides which definitions in a text with syntax errors are real, and which are artefacts of error recovery.

tree-sitter recovers by skipping text (ERROR) and by inserting tokens (MISSING). One superfluous brace can put the rest of a
file into an ERROR node, although the functions in it are fine. A macro before a function is an ERROR in the function's header.
So the decision depends on the definition itself: its name, its header, and where its body ends.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence

from tree_sitter import Node

from codesage.syntax.names import RESERVED
from codesage.syntax.tree import SourceTree

_STATEMENT = re.compile(rb"^[ \t}]*(?:if|else|for|while|switch|case|return|throw|do|break|goto|try|typedef)\b", re.MULTILINE)
_GAP = re.compile(rb".*(?:\*/|[;}]|//[^\n]*\n|\n[ \t]*\r?\n)\s*", re.DOTALL)
_WORDS = re.compile(rb"(?:[A-Za-z_]\w*[\s*]+)+")
_WORDS_AND_CALLS = re.compile(rb"(?:[A-Za-z_]\w*(?:[ \t]*\([^()\n]*\))?[\s*]+)+")
_BLANK_LINE = re.compile(rb"\n[ \t\r]*\n")
_TRAILING = 2  # brackets allowed between parameters and body of a C function: `UNUSED(a) NOTHROW(b)`
_PAIRS = ((b"(", b")"), (b"[", b"]"), (b"{", b"}"))
_BRACED = {"java", "javascript", "typescript", "csharp", "c", "go", "php"}
_FIELDS = {"pair", "field_definition", "public_field_definition"}
_MEMBERS = {"class_body", "object", "interface_body"}


def reserved(tree: SourceTree, node: Node, name: str) -> bool:
    """Whether a name is a keyword that cannot be a name here. JavaScript allows keywords as keys of classes and objects."""
    if name not in RESERVED[tree.language]:  # the grammar takes C#'s `extension(string s) {` for a constructor
        if name == "let":
            return node.type in _FIELDS and node.has_error
        return name == "extension" and node.type == "constructor_declaration" and tree.language == "csharp"
    if tree.language not in ("javascript", "typescript"):
        return True
    if node.type == "method_definition":
        parent = tree.parent(node)
        return parent is None or parent.type not in _MEMBERS or parent.has_error
    if node.type in _FIELDS:
        return node.has_error  # the grammar takes `const f = () => {}` after an unclosed class for a field `const`
    return node.type != "assignment_expression"


class Errors:
    """The places in a tree where the parser recovered from an error."""

    def __init__(self, tree: SourceTree, nodes: Sequence[Node]) -> None:
        self._tree = tree
        self._spans = sorted([(node.start_byte, node.end_byte) for node in nodes])

    def sound(self, node: Node, name: str, body: Node, begin: int) -> bool:
        """Whether the definition `node`, which contains errors, is in the text as the tree shows it, from `begin` on."""
        source, opening, end = self._tree.source, body.start_byte, body.end_byte
        if self._between(node.start_byte, opening):
            declarator = node.child_by_field_name("declarator")
            if declarator is not None and source.count(b"(", max(begin, declarator.end_byte), opening) > _TRAILING:
                return False  # a list of macro calls
            if not _is_header(source[begin:opening], name):
                return False
        return not self._between(opening, end) or _closes(self._tree, node, body)

    def start(self, node: Node, body: Node) -> int:
        """First byte of a definition's code. In C it is after a macro that the parser takes for the type."""
        start = node.start_byte
        declarator = node.child_by_field_name("declarator") if self._tree.language == "c" else None
        if declarator is None or not self._between(start, body.start_byte):
            return start
        gap = _GAP.match(self._tree.source, start, declarator.start_byte)
        return gap.end() if gap else start

    def header(self, node: Node) -> int:
        """First byte of the header of the C function `node`. Words before it are part of it if the parser split them off.

        It takes `API int` in `API int CALL f(void) {` for a declaration, and inserts a semicolon after it.
        """
        source, start = self._tree.source, node.start_byte
        end = start
        while end > 0 and source[end - 1] in b" \t\r\n":
            end -= 1
        index = bisect_left(self._spans, (end, end))
        before = node.prev_sibling if index < len(self._spans) and self._spans[index] == (end, end) else None
        if before is None or before.type not in ("declaration", "expression_statement"):
            return start
        words = _WORDS_AND_CALLS if before.end_point.row == node.start_point.row else _WORDS
        first = before.start_byte
        return first if words.fullmatch(source, first, start) and not _BLANK_LINE.search(source, first, start) else start

    def _between(self, start: int, end: int) -> bool:
        """Whether there is an error in the bytes from `start` to `end`."""
        for index in range(bisect_left(self._spans, (start,)), len(self._spans)):
            first, last = self._spans[index]
            if first >= end:
                return False
            if last <= end:  # else it is around the definition
                return True
        return False


def _is_header(header: bytes, name: str) -> bool:
    """Whether the text before a body can be a header with `name`: it has no statements, and its brackets are balanced."""
    if _STATEMENT.search(header) or any(header.count(opening) != header.count(closing) for opening, closing in _PAIRS):
        return False
    return re.search(rb"(?<![\w$])" + re.escape(name.encode()), header) is not None


def _closes(tree: SourceTree, node: Node, body: Node) -> bool:
    """Whether a body with errors ends with its definition: no earlier bracket closes at the definition's column."""
    source, start, end = tree.source, body.start_byte, body.end_byte
    line = source.rfind(b"\n", 0, node.start_byte) + 1
    margin = source[line : node.start_byte]
    margin = margin[: len(margin) - len(margin.lstrip())]
    if tree.language in _BRACED and source.startswith(b"{", start):
        return source.endswith(b"}", start, end) and source.find(b"\n" + margin + b"}", start, end - 1) < 0
    return tree.language != "ruby" or re.search(rb"\n" + margin + rb"end\b", source[start:end]) is None
