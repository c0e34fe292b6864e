"""Names that strings may use, such as `a` in `eval("a + 1")` and in `x["a"]`. The file does not show whether they do.

In: a parsed file and its units. Out: the units that must keep their names. Where a function calls `eval` or the like, these are
all that occur in it. In the whole file they are those whose names are words of a string. Without such a call, they are the
members, functions and classes whose name is all of a string, or a part of a path in one (`"module.name"`).
"""

import re
from bisect import bisect_right
from collections.abc import Iterable

from tree_sitter import Node

from codesage.names.units import Extent, FileUnits, Unit
from codesage.syntax.ancestry import Ancestry, Nearest
from codesage.syntax.tree import SourceTree

_CALLED = {  # they run a string as code, or give or take variables by name
    "python": {"eval", "exec", "locals", "vars", "globals"},
    "javascript": {"eval", "Function"},
    "typescript": {"eval", "Function"},
    "php": {"eval", "compact", "extract", "get_defined_vars", "parse_str"},
    "ruby": {"eval", "binding", "local_variables"},
}
_NAME_TYPES = {"identifier", "name"}
_PATH = re.compile(rb"""(["'`])([$@:]*\w+(?:(?:\.|::|->|#|/|\\+)\w+)*)\1""")  # a string that is a name, or a path of names
_EXPORTED = re.compile(rb"__all__[^=\n]*=\s*[\[(]([^\])]*)")
_BY_NAME = {"class", "function", "member"}  # kinds that `x["a"]`, `getattr` or reflection find
_CALL_FIELDS = ("function", "constructor", "method")
_FUNCTION = re.compile(r"(generator_)?function_(definition|declaration|expression)|anonymous_function.*|arrow_function|lambda"
                       r"|method_(definition|declaration)|(singleton_)?method")  # fmt: skip


def in_strings(tree: SourceTree, held: FileUnits) -> set[Unit]:
    """The units that code in strings may use; none if the file runs no strings."""
    called = _CALLED.get(tree.language, set())
    if not any(name.encode() in tree.source for name in called) and b"$$" not in tree.source:
        return set()
    nodes, ancestry = list(tree.nodes()), Ancestry(tree)
    calls = [node for node in nodes if _is_call(tree, node, called, ancestry)]
    if not calls:
        return set()
    strings = [node for node in nodes if _is_string(node, ancestry)]
    words = {word for node in strings for word in re.findall(r"\w+", tree.text(node))}
    nearest = Nearest(ancestry, lambda kind: _FUNCTION.fullmatch(kind) is not None)
    around = [nearest.around(node) for node in calls]
    functions = _Extents(_inside(node) for node in nodes if node.is_named and _FUNCTION.fullmatch(node.type))
    calling = _Extents(_inside(function) for function in around if function is not None)
    outside = any(function is None for function in around)  # a call is in no function

    def is_used(unit: Unit) -> bool:
        if unit.name.lstrip("$@:#") in words or any(calling.hold(span) for span in unit.spans):
            return True
        return outside and any(not functions.hold(span) for span in unit.spans)

    return {unit for unit in held.units if is_used(unit)}


def named_by_strings(tree: SourceTree, held: FileUnits) -> set[Unit]:
    """The units that a string names, as in `x["a"]`, `getattr(x, "a")`, `__slots__`, `__all__` and a type in quotes.

    Strings are found in the text, so one in a comment counts too.
    """
    strings = b" ".join(found[2] for found in _PATH.finditer(tree.source))
    exported = b" ".join(_EXPORTED.findall(tree.source)) if tree.language == "python" else b""
    named, of_any_kind = (set(re.findall(r"\w+", text.decode("utf-8", "replace"))) for text in (strings, exported))

    def is_named(unit: Unit) -> bool:
        name = unit.name.lstrip("$@:#")
        return name in of_any_kind or (unit.kind in _BY_NAME and name in named)

    return {unit for unit in held.units if is_named(unit)}


class _Extents:
    """Parts of a file, each inside of another or apart from it."""

    def __init__(self, extents: Iterable[Extent]) -> None:
        self._outer: list[Extent] = []
        for extent in sorted(extents, key=lambda extent: (extent[0], -extent[1])):
            if not self._outer or extent[1] > self._outer[-1][1]:
                self._outer.append(extent)

    def hold(self, span: Extent) -> bool:
        """Whether one of them holds all of `span`."""
        place = bisect_right(self._outer, span[0], key=lambda extent: extent[0]) - 1
        return place >= 0 and span[1] <= self._outer[place][1]


def _is_call(tree: SourceTree, node: Node, called: set[str], ancestry: Ancestry) -> bool:
    """Whether a node calls one of these functions without a receiver (`model.eval()` has one), or is `$$name` of PHP."""
    if tree.language == "php" and node.type == "dynamic_variable_name":
        return True
    if node.type not in _NAME_TYPES or tree.text(node) not in called or (parent := ancestry.parent(node)) is None:
        return False
    if parent.child_by_field_name("receiver") is not None:
        return parent.child_by_field_name("receiver") == node  # `binding.eval` in Ruby
    is_bare = tree.language == "ruby" and not _FUNCTION.fullmatch(parent.type)  # `binding` alone is a call there
    return is_bare or any(parent.child_by_field_name(field) == node for field in _CALL_FIELDS)


def _is_string(node: Node, ancestry: Ancestry) -> bool:
    """Whether a node is part of a string that is no docstring."""
    if "string" not in node.type and "heredoc" not in node.type:
        return False
    above = ancestry.parent(node)
    while above is not None and "string" in above.type:
        above = ancestry.parent(above)
    return above is None or above.type != "expression_statement"


def _inside(function: Node) -> tuple[int, int]:
    """A function without its name, which is seen from outside."""
    name = function.child_by_field_name("name")
    return (function.start_byte if name is None else name.end_byte), function.end_byte
