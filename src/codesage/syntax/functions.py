"""A parsed text to its functions, methods and classes, with signature, body, docstring and the hard positive.

definitions.py finds them in one pass over the tree. Everything after that is byte ranges, and the texts of bodies are
made of them when they are read.
"""

import re
from bisect import bisect_left

from tree_sitter import Node

from codesage.records import Function
from codesage.syntax.definitions import Definition, Found, find
from codesage.syntax.docstrings import comment_before, python_docstring
from codesage.syntax.names import receiver_of
from codesage.syntax.overloads import comment_above_overloads
from codesage.syntax.preprocessor import above_conditions
from codesage.syntax.tree import SourceTree

_BLOCKS = {"block", "body_statement", "block_body"}
_PYTHON_FIRST = tuple(bytes([byte]) for byte in b"'\"rRuUbBfF(#\\")  # of a body with a docstring, or a comment before it
_STATEMENT = "expression_statement"
_AROUND_STRINGS = {_STATEMENT, "parenthesized_expression"}
_STRINGS = {"string", "concatenated_string"}
_EMPTY_STRINGS = re.compile(r"(?:[rRuU]?(?:\"{3}\s*\"{3}|'{3}\s*'{3}|\"\s*\"|'\s*')|[\s()]|\\\n)*")
_ATTRIBUTED = {"java", "csharp", "php", "typescript", "javascript"}


def functions(tree: SourceTree) -> list[Function]:
    """Functions, methods, constructors and classes with a body, in source order (a class before its methods).

    Function expressions count where they are bound to a name. A definition without a name or a body is left out.
    """
    found = find(tree)
    around: list[tuple[int, str]] = []  # (end, name of the nearest class) of the definitions around
    result: list[Function] = []
    for definition in found.definitions:
        while around and around[-1][0] <= definition.start:
            around.pop()
        parent = around[-1][1] if around else ""
        receiver = receiver_of(tree, definition.node) if tree.language == "go" and not parent else ""
        result.append(_function(tree, definition, parent or receiver, found))
        around.append((-definition.last, definition.name if definition.kind == "class" else parent))
    return result


def _function(tree: SourceTree, definition: Definition, parent: str, found: Found) -> Function:
    source, body, start, row = tree.source, definition.body, definition.begin, definition.row
    opening = body.start_byte
    inner, docstring, doc_start = opening, "", start
    if tree.language == "python":
        if source[opening : opening + 1] in _PYTHON_FIRST:
            docstring, inner = _python_docstring(tree, body)
    else:
        docstring, doc_start, start = _documentation(tree, definition)
        row += source.count(b"\n", definition.begin, start) if start != definition.begin else 0
    return Function(
        definition.kind, definition.name, parent, tree.language, source[start:opening].decode("utf-8", "replace"), docstring,
        row + 1, definition.node.end_point.row + 1, start, definition.end, doc_start, inner,
        _bare(source, definition, inner, found.returns), source,
    )  # fmt: skip


def _documentation(tree: SourceTree, definition: Definition) -> tuple[str, int, int]:
    """The comment that documents a definition, the first byte of the comment, and that of the definition."""
    source, language, start = tree.source, tree.language, definition.begin
    docstring, first = comment_before(source, start, language)
    if docstring:
        repeated = language == "typescript" and _repeats(source, docstring, definition)
        return ("", start, start) if repeated else (docstring, first, start)
    if language == "c":
        docstring, first = comment_before(source, above_conditions(source, definition, start), language)
    elif language == "typescript" and definition.kind == "function":
        docstring, first = comment_above_overloads(tree, definition)
    if not docstring and language in _ATTRIBUTED and (behind := _behind_attributes(source, definition)) > start:
        docstring, first = comment_before(source, behind, language)
        start = behind if docstring else start  # the code leaves the attributes out, as it would repeat the comment
    return (docstring, first, start) if docstring else ("", start, start)


def _repeats(source: bytes, docstring: str, definition: Definition) -> bool:
    """Whether the header says the documentation again: in the type of a constant, where it documents the overloads."""
    start, opening = definition.begin, definition.body.start_byte
    return source.find(b"*/", start, opening) > 0 and docstring.partition("\n")[0].encode() in source[start:opening]


def _behind_attributes(source: bytes, definition: Definition) -> int:
    """Where the header goes on behind a documentation block that stands between attributes and header, else `begin`."""
    start, opening = definition.begin, definition.body.start_byte
    if source[start : start + 1] not in (b"@", b"[", b"#"):
        return start
    block = source.find(b"/**", start, opening)
    end = source.find(b"*/", block, opening) + 2 if block >= 0 else 1
    if end == 1 or source.find(definition.name.encode(), end, opening) < 0:
        return start
    return _skip_blank(source, end, opening)


def _python_docstring(tree: SourceTree, body: Node) -> tuple[str, int]:
    """The docstring of a Python body and where the body goes on behind it; ("", start of the body) when there is none."""
    statement = body.named_child(0)
    while statement is not None and statement.type == "comment":
        statement = statement.next_named_sibling
    value = statement
    while value is not None and value.type in _AROUND_STRINGS and (value.child_count == 1 or value.type != _STATEMENT):
        value = value.named_child(0)
    if statement is None or value is None or value.type not in _STRINGS:
        return "", body.start_byte
    text = tree.text(statement)
    docstring = python_docstring(text)
    if not docstring and not _EMPTY_STRINGS.fullmatch(text):  # bytes, or a string with formatted values
        return "", body.start_byte
    return docstring, _skip_blank(tree.source, statement.end_byte, body.end_byte)


def _skip_blank(source: bytes, start: int, end: int) -> int:
    """First byte after the docstring that is neither blank nor a line break: the body goes on there."""
    while start < end and source[start] in b" \t\r\n;":
        start += 1
    return start


def _bare(source: bytes, definition: Definition, inner: int, returns: list[tuple[int, int]]) -> tuple[int, ...]:
    """Where the pieces of the body start and end that stay without outer braces and return statements.

    Return statements of nested functions go too. (Their results are as telling as its own, and what is left is the same
    whoever owns them.) A class keeps its methods whole. A body that is one expression is itself the returned value:
    nothing is left of it.
    """
    body, start, end = definition.body, inner, definition.body.end_byte
    if source.startswith((b"struct", b"interface"), start) and body.type in ("struct_type", "interface_type"):  # Go
        start = max(start, source.find(b"{", start, end))
    if source.startswith(b"{", start) and source.endswith(b"}", start, end):
        start, end = start + 1, end - 1
    elif definition.kind == "function" and body.type not in _BLOCKS:
        return ()
    if definition.kind == "class":
        return start, end
    borders, position = [start], start
    for index in range(bisect_left(returns, (start,)), len(returns)):
        first, last = returns[index]
        if first >= end:
            break
        if first >= position:  # else it lies inside one that is already cut
            position = -last
            borders += first, position
    return (*borders, end)
