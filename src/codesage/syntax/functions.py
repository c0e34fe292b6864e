"""Lists the functions, methods and classes of a parsed text, with signature, body, docstring and hard positive.

definitions.py finds them in one pass over the tree. The records store byte ranges, and the texts of bodies are made from them
on access.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator

from tree_sitter import Node

from codesage.records import Function
from codesage.syntax.definitions import Definition, Scan, scan
from codesage.syntax.docstrings import comment_above_body, comment_before, python_docstring
from codesage.syntax.names import receiver_of
from codesage.syntax.outline import Outlined
from codesage.syntax.overloads import above_overloads
from codesage.syntax.preprocessor import above_conditions
from codesage.syntax.tree import SourceTree

_BLOCKS = {"block", "body_statement", "block_body"}
_PYTHON_FIRST = tuple(bytes([byte]) for byte in b"'\"rRuUbBfF(#\\")  # of a body with a docstring or with a comment before it
_DOCUMENTING = b"/**"  # the mark of documentation; "//" and "/*" begin notes
_STATEMENT = "expression_statement"
_AROUND_STRINGS = {_STATEMENT, "parenthesized_expression"}
_STRINGS = {"string", "concatenated_string"}
_EMPTY_STRINGS = re.compile(r"(?:[rRuU]?(?:\"{3}\s*\"{3}|'{3}\s*'{3}|\"\s*\"|'\s*')|[\s()]|\\\n)*")
_OTHER_MEMBER = re.compile(r"@!(?:method|attribute)\s+(?:\[\w*\]\s*)?(?:self\.)?([^\s(=]+)")  # YARD documents one without code
_INNER_LINES = re.compile(rb"\n(?:[ \t]*///(?!/)[^\n]*\n)+")
_LINED = {"java", "csharp"}  # of these, languages with documentation in line comments
_ATTRIBUTED = {"java", "csharp", "php", "typescript", "javascript"}


def functions(tree: SourceTree) -> list[Function]:
    """Functions, methods, constructors and classes with a body, in source order (a class before its methods).

    Function expressions count if they are bound to a name. Definitions without a name or a body are left out.
    """
    scanned = scan(tree)
    return [_function(tree, definition, parent, scanned) for definition, parent in _with_parents(tree, scanned)]


def outlines(tree: SourceTree) -> list[Outlined]:
    """The names and lines of what `functions` finds, in the same order, without the texts, which take longer to find."""
    return [_outlined(tree, definition, parent) for definition, parent in _with_parents(tree, scan(tree))]


def _with_parents(tree: SourceTree, scanned: Scan) -> Iterator[tuple[Definition, str]]:
    """Definitions, each with the name of the class that it belongs to, or ""."""
    around: list[tuple[int, str]] = []  # (end, name of the nearest class) of the enclosing definitions
    for definition in scanned.definitions:
        while around and around[-1][0] <= definition.start:
            around.pop()
        parent = around[-1][1] if around else ""
        yield definition, parent or (receiver_of(tree, definition.node) if tree.language == "go" else "")
        around.append((-definition.last, definition.name if definition.kind == "class" else parent))


def _outlined(tree: SourceTree, definition: Definition, parent: str) -> Outlined:
    first = start = definition.row
    if tree.language != "python":
        _, comment_byte, start_byte = _documentation(tree, definition)
        start += tree.source.count(b"\n", definition.begin, start_byte) if start_byte != definition.begin else 0
        first = start - tree.source.count(b"\n", comment_byte, start_byte)
    name = f"{parent}.{definition.name}" if parent else definition.name
    return Outlined(definition.kind, name, first + 1, start + 1, definition.node.end_point.row + 1)


def _function(tree: SourceTree, definition: Definition, parent: str, scanned: Scan) -> Function:
    source, body, start, row = tree.source, definition.body, definition.begin, definition.row
    opening = body.start_byte
    inner, docstring, doc_start, head = opening, "", start, opening
    if tree.language == "python":
        if source[opening : opening + 1] in _PYTHON_FIRST:
            docstring, inner = _python_docstring(tree, body)
    else:
        docstring, doc_start, start = _documentation(tree, definition)
        row += source.count(b"\n", definition.begin, start) if start != definition.begin else 0
        if tree.language == "c" and source.find(b"/*++", start, opening) >= 0:
            below, head = comment_above_body(source, start, opening)
            docstring = below or docstring
    return Function(
        definition.kind,
        definition.name,
        parent,
        tree.language,
        source[start:head].decode("utf-8", "replace"),
        docstring,
        row + 1,
        definition.node.end_point.row + 1,
        start,
        definition.end,
        doc_start,
        inner,
        _bare(source, definition, inner, scanned.returns),
        source,
    )


def _documentation(tree: SourceTree, definition: Definition) -> tuple[str, int, int]:
    """Returns (documentation comment, first byte of the comment, first byte of the definition)."""
    source, language, start = tree.source, tree.language, definition.begin
    docstring, first = comment_before(source, start, language)
    if docstring:
        if language == "typescript":
            if _repeats(source, docstring, definition):
                return "", start, start
            if definition.kind == "function" and not source.startswith(_DOCUMENTING, first):
                docstring, first = above_overloads(tree, definition, docstring, first)
        if language == "ruby" and (other := _OTHER_MEMBER.match(docstring)) and other[1] != definition.name.rstrip("="):
            return "", start, start
        return docstring, first, start
    if language == "c":
        if (above := above_conditions(tree, definition, start)) != start:
            docstring, first = comment_before(source, above, language)
    elif language == "typescript" and definition.kind == "function":
        docstring, first = above_overloads(tree, definition, "", start)
    if not docstring and language in _ATTRIBUTED and (header := _after_inner_comment(source, definition, language)) > start:
        docstring, first = comment_before(source, header, language)
        start = header if docstring else start  # leave out the attributes: with them the code would repeat the comment
    return (docstring, first, start) if docstring else ("", start, start)


def _repeats(source: bytes, docstring: str, definition: Definition) -> bool:
    """Whether the header repeats the documentation, as in the type of a constant with documented overloads."""
    start, opening = definition.begin, definition.body.start_byte
    return source.find(b"*/", start, opening) > 0 and docstring.partition("\n")[0].encode() in source[start:opening]


def _after_inner_comment(source: bytes, definition: Definition, language: str) -> int:
    """First byte after documentation between the attributes and the rest of the header, or else `begin`."""
    start, opening = definition.begin, definition.body.start_byte
    if source[start : start + 1] not in (b"@", b"[", b"#"):
        return start
    block = source.find(b"/**", start, opening)
    end = source.find(b"*/", block, opening) + 2 if block >= 0 else 1
    if end == 1 and language in _LINED and source.find(b"///", start, opening) >= 0:
        lines = _INNER_LINES.search(source, start, opening)
        end = 1 if lines is None else lines.end()
    if end == 1 or source.find(definition.name.encode(), end, opening) < 0:
        return start
    return _skip_blank(source, end, opening)


def _python_docstring(tree: SourceTree, body: Node) -> tuple[str, int]:
    """Returns (docstring of a Python body, first byte after it), or ("", start of the body) if there is none."""
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
    """Index of the first byte from `start` on that is not white space or a semicolon."""
    while start < end and source[start] in b" \t\r\n;":
        start += 1
    return start


def _bare(source: bytes, definition: Definition, inner: int, returns: list[tuple[int, int]]) -> tuple[int, ...]:
    """Start and end, in turn, of each piece of the body that is left without outer braces and return statements.

    Return statements of nested functions are removed too, because their results reveal as much as the function's own. The
    methods of a class stay whole. A body that is a single expression is itself the returned value, so nothing is left of it.
    """
    body, start, end = definition.body, inner, definition.body.end_byte
    first = source[start : start + 1]
    if first in (b"s", b"i") and body.type in ("struct_type", "interface_type"):  # Go
        start = max(start, source.find(b"{", start, end))
        first = source[start : start + 1]
    if first == b"{" and source[end - 1 : end] == b"}":
        start, end = start + 1, end - 1
    elif definition.kind == "function" and body.type not in _BLOCKS:
        return ()
    if definition.kind == "class":
        return start, end
    borders, position = [start], start
    for index in range(bisect_left(returns, (start,)), len(returns)):
        begin, last = returns[index]
        if begin >= end:
            break
        if begin >= position:  # else it is inside one that is already cut
            position = -last
            borders += begin, position
    return (*borders, end)
