"""TypeScript overloads: signatures above an implementation, whose comments also document the implementation."""

from tree_sitter import Node

from codesage.syntax.definitions import Definition
from codesage.syntax.docstrings import comment_before
from codesage.syntax.tree import SourceTree

_OUTER = {"export_statement", "ambient_declaration"}
_IMPLEMENTATIONS = {"function_declaration", "generator_function_declaration", "method_definition"}
_SIGNATURES = {"function_signature", "method_signature"}


def above_overloads(tree: SourceTree, definition: Definition, note: str, start: int) -> tuple[str, int]:
    """Returns (comment above the first documented overload, its first byte).

    If there is none, returns the `note` above the implementation and its first byte, `start`. A plain comment above an
    overload does not replace a note.
    """
    docstring, first = note, start
    if definition.node.type not in _IMPLEMENTATIONS or not _follows_text(tree.source, start):
        return docstring, first
    node = _outer(tree, definition.node)
    while (node := node.prev_named_sibling) is not None:
        if node.type in ("comment", "decorator"):
            continue
        if not _is_overload(tree, node, definition.name):
            break
        text, above = comment_before(tree.source, node.start_byte, tree.language)
        if text and not (note and not tree.source.startswith(b"/**", above)):
            docstring, first = text, above
    return docstring, first


def _follows_text(source: bytes, start: int) -> bool:
    """Whether the text before `start` may be a signature, as it is not a brace. This test is cheaper than the tree."""
    start -= 1
    while start >= 0 and source[start] in b" \t\r\n":
        start -= 1
    return start >= 0 and source[start] not in b"{}"


def _is_overload(tree: SourceTree, node: Node, name: str) -> bool:
    if node.type in _OUTER:
        node = node.child_by_field_name("declaration") or node
    return node.type in _SIGNATURES and tree.text(node.child_by_field_name("name")) == name


def _outer(tree: SourceTree, node: Node) -> Node:
    parent = tree.parent(node)
    return parent if parent is not None and parent.type in _OUTER else node
