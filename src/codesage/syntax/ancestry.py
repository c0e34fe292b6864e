"""The parents of the nodes of a tree, found in one pass over all of it.

tree-sitter finds the parent of a node by a walk from the root. So in a chain of n operators, where nodes are n levels deep, a
parent takes time in proportion to n, and a climb to the root in proportion to its square. Here a parent is a look-up, and the
innermost node of some kind around a node is found once for all nodes below it.
"""

from collections.abc import Callable, Iterator

from tree_sitter import Node

from codesage.syntax.tree import SourceTree


class Ancestry:
    """The nodes around each node of a tree. Making it takes time linear in the tree."""

    def __init__(self, tree: SourceTree) -> None:
        self._parents: dict[int, Node] = {}
        cursor, around = tree.tree.walk(), []
        while (node := cursor.node) is not None:
            if around:
                self._parents[node.id] = around[-1]
            if cursor.goto_first_child():
                around.append(node)
                continue
            while not cursor.goto_next_sibling():
                if not cursor.goto_parent():
                    return
                around.pop()

    def parent(self, node: Node) -> Node | None:
        """The node that `node` is a child of; None for the root."""
        return self._parents.get(node.id)

    def above(self, node: Node, most: int) -> Iterator[Node]:
        """The nodes around `node`, the innermost first, at most so many."""
        outer: Node | None = node
        while most and (outer := self._parents.get(outer.id)) is not None:
            yield outer
            most -= 1


class Nearest:
    """The innermost of certain nodes around each node. However many are asked for, each node is passed once."""

    def __init__(self, ancestry: Ancestry, accepts: Callable[[str], bool]) -> None:
        self._ancestry, self._accepts = ancestry, accepts  # the latter takes the type of a node
        self._known: dict[int, Node | None] = {}

    def around(self, node: Node) -> Node | None:
        """The innermost node around `node` that is accepted, not `node` itself; None if there is none."""
        passed: list[int] = []
        inner, found = node, None
        while inner.id not in self._known:
            passed.append(inner.id)
            found = self._ancestry.parent(inner)
            if found is None or self._accepts(found.type):
                break
            inner = found
        else:
            found = self._known[inner.id]
        self._known.update(dict.fromkeys(passed, found))
        return found
