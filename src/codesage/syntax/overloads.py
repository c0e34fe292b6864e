"""Overloads of TypeScript: signatures above an implementation, which their comments document."""

from collections.abc import Sequence

from tree_sitter import Node

from codesage.syntax.definitions import Definition
from codesage.syntax.docstrings import comment_before
from codesage.syntax.tree import SourceTree

_OUTER = {"export_statement", "ambient_declaration"}


def comment_above_overloads(tree: SourceTree, definition: Definition, overloads: Sequence[Node]) -> tuple[str, int]:
    """The comment above the first documented overload of `definition`, which has none itself, and its first byte."""
    name, ids = definition.name, {node.id for node in overloads}
    docstring, first = "", definition.begin
    node = _outer(definition.node)
    while (node := node.prev_named_sibling) is not None:
        if node.type in ("comment", "decorator"):
            continue
        signature = node.child_by_field_name("declaration") or node.named_child(0) if node.type in _OUTER else node
        if signature is None or signature.id not in ids or tree.text(signature.child_by_field_name("name")) != name:
            break
        text, start = comment_before(tree.source, node.start_byte, tree.language)
        docstring, first = (text, start) if text else (docstring, first)
    return docstring, first


def _outer(node: Node) -> Node:
    parent = node.parent
    return parent if parent is not None and parent.type in _OUTER else node
