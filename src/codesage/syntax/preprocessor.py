"""Lines of the C preprocessor between a comment and the definition that it documents."""

import re

from tree_sitter import Node

from codesage.syntax.definitions import Definition

_CONDITION = re.compile(rb"[ \t]*#[ \t]*(?:if|ifdef|ifndef)\b")
_MACRO = re.compile(rb"[ \t]*[A-Z_][A-Z0-9_]+[ \t]*(?:\(([^()\n]*)\))?[ \t]*;?[ \t\r]*")
_NO_ITEMS = ("comment", "preproc_else", "preproc_elif", "preproc_elifdef")


def above_conditions(source: bytes, definition: Definition, start: int) -> int:
    """The start of the lines above `start` that belong to the definition, such as `#ifdef X` and `EXPORT_SYMBOL(name);`.

    A condition belongs to the definition if nothing else is under it. Otherwise the comment above it is about all of that.
    """
    node, name = definition.node, definition.name.encode()
    while (line := source.rfind(b"\n", 0, start) + 1) > 0:
        above = source.rfind(b"\n", 0, line - 1) + 1
        text = source[above : line - 1]
        if _CONDITION.match(text):
            parent = node.parent
            if parent is None or not parent.type.startswith("preproc_if") or not _is_only_item(parent):
                return start
            node = parent
        elif not _names(text, name):
            return start
        start = above
    return start


def _names(line: bytes, name: bytes) -> bool:
    """Whether a line is a macro call with `name` among its arguments."""
    match = _MACRO.fullmatch(line)
    return match is not None and match.group(1) is not None and name in re.findall(rb"\w+", match.group(1))


def _is_only_item(condition: Node) -> bool:
    children = condition.named_children[1:]  # the first is the condition itself
    return sum([child.type not in _NO_ITEMS for child in children]) == 1
