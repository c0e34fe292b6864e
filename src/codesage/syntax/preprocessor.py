"""Lines of the C preprocessor between a comment and the definition that it documents."""

import re

from tree_sitter import Node

from codesage.syntax.definitions import Definition
from codesage.syntax.tree import SourceTree

_CONDITION = re.compile(rb"[ \t]*#[ \t]*(?:if|ifdef|ifndef)\b")
_END = re.compile(rb"[ \t]*#[ \t]*endif\b")
_MACRO = re.compile(rb"[ \t]*[A-Z_][A-Z0-9_]+[ \t]*(?:\(([^()\n]*)\))?[ \t]*;?[ \t\r]*")
# A call of a macro with numbers, strings and kinds of formats is an attribute: `PRINTF_LIKE(printf, 1, 2)`. A comment above a
# macro that switches warnings off is about that.
_ATTRIBUTE = re.compile(
    rb"[ \t]*(?!\w*(?:DIAG|WARN|PRAGMA))[A-Za-z_]\w*[ \t]*"
    rb"\((?:[\s,()]|\d[\w.]*+|\"[^\"\n]*\"|\b(?:_*(?:gnu_)?(?:printf|scanf|strftime)_*|malloc)\b)*\)\s*"
)
_SPECIFIERS = re.compile(  # a condition around words of the header: `#ifdef X`, `static`, `#endif`
    rb"[ \t]*#[ \t]*if(?:[^\n]*\\\n)*[^\n]*\n"
    rb"(?:[ \t]*(?:#[ \t]*(?:else|elif)\b[^\n]*|[A-Za-z_](?:[\w \t*]*|\w*[ \t]*\([^;{}\n]*\)[ \t]*)|/\*[^\n]*\*/[ \t]*)\n)*"
    rb"[ \t]*#[ \t]*endif\b[^\n]*"
)
_NO_ITEMS = ("comment", "preproc_else", "preproc_elif", "preproc_elifdef")


def above_conditions(tree: SourceTree, definition: Definition, start: int) -> int:
    """The start of the lines above `start` that belong to the definition, such as `#ifdef X` and `EXPORT_SYMBOL(name);`.

    Calls of macros with attributes, and conditions around words of the header (`static`), belong to it too. A condition around
    the definition belongs to it if nothing else is under it. Otherwise the comment above it is about all of that.
    """
    source, node, name = tree.source, definition.node, definition.name.encode()
    while (line := source.rfind(b"\n", 0, start) + 1) > 0:
        above = source.rfind(b"\n", 0, line - 1) + 1
        text = source[above : line - 1]
        if _CONDITION.match(text):
            parent = tree.parent(node)
            if parent is None or not parent.type.startswith("preproc_if") or not _is_only_item(parent):
                return start
            node = parent
        elif b"#" in text:
            above = _specifiers(source, above, line)
            if above < 0:
                return start
        elif b"(" not in text or not (_names(text, name) or _ATTRIBUTE.fullmatch(text)):
            return start
        start = above
    return start


def _specifiers(source: bytes, last: int, end: int) -> int:
    """The start of a condition around words of a header, whose last line starts at byte `last`; -1 for other lines."""
    first = last if _END.match(source, last) else 0
    while first > 0:
        first = source.rfind(b"\n", 0, max(0, source.rfind(b"#", 0, first))) + 1
        if _CONDITION.match(source, first):
            return first if _SPECIFIERS.fullmatch(source, first, end - 1) else -1
    return -1


def _names(line: bytes, name: bytes) -> bool:
    """Whether a line is a macro call with `name` among its arguments."""
    match = _MACRO.fullmatch(line)
    return match is not None and match.group(1) is not None and name in re.findall(rb"\w+", match.group(1))


def _is_only_item(condition: Node) -> bool:
    children = condition.named_children[1:]  # the first is the condition itself
    return sum([child.type not in _NO_ITEMS for child in children]) == 1
