"""Names that code in strings may use, such as `a` in `eval("a + 1")`. The file does not show whether it does.

In: a parsed file and its units. Out: the units that must keep their names. Where a function calls `eval` or the like, these are
all that occur in it. In the whole file they are those whose names are words of a string.
"""

import re

from tree_sitter import Node

from codesage.names.units import FileUnits, Unit
from codesage.syntax.tree import SourceTree

_CALLED = {  # they run a string as code, or give or take variables by name
    "python": {"eval", "exec", "locals", "vars", "globals"},
    "javascript": {"eval", "Function"},
    "typescript": {"eval", "Function"},
    "php": {"eval", "compact", "extract", "get_defined_vars", "parse_str"},
    "ruby": {"eval", "binding", "local_variables"},
}
_NAME_TYPES = {"identifier", "name"}
_CALL_FIELDS = ("function", "constructor", "method")
_FUNCTION = re.compile(r"(generator_)?function_(definition|declaration|expression)|anonymous_function.*|arrow_function|lambda"
                       r"|method_(definition|declaration)|(singleton_)?method")  # fmt: skip


def in_strings(tree: SourceTree, held: FileUnits) -> set[Unit]:
    """The units that code in strings may use; none if the file runs no strings."""
    called = _CALLED.get(tree.language, set())
    if not any(name.encode() in tree.source for name in called) and b"$$" not in tree.source:
        return set()
    nodes = list(tree.nodes())
    calls = [node for node in nodes if _is_call(tree, node, called)]
    if not calls:
        return set()
    words = {word for node in nodes if _is_string(node) for word in re.findall(r"\w+", tree.text(node))}
    around = [_function_of(node) for node in calls]
    functions = [_inside(node) for node in nodes if node.is_named and _FUNCTION.fullmatch(node.type)]
    extents = [_inside(function) for function in around if function is not None]

    def is_used(unit: Unit) -> bool:
        if unit.name.lstrip("$@:#") in words or any(_is_in(span, extent) for span in unit.spans for extent in extents):
            return True
        return None in around and any(not any(_is_in(span, function) for function in functions) for span in unit.spans)

    return {unit for unit in held.units if is_used(unit)}


def _is_call(tree: SourceTree, node: Node, called: set[str]) -> bool:
    """Whether a node calls one of these functions without a receiver (`model.eval()` has one), or is `$$name` of PHP."""
    if tree.language == "php" and node.type == "dynamic_variable_name":
        return True
    parent = node.parent
    if parent is None or node.type not in _NAME_TYPES or tree.text(node) not in called:
        return False
    if parent.child_by_field_name("receiver") is not None:
        return parent.child_by_field_name("receiver") == node  # `binding.eval` in Ruby
    is_bare = tree.language == "ruby" and not _FUNCTION.fullmatch(parent.type)  # `binding` alone is a call there
    return is_bare or any(parent.child_by_field_name(field) == node for field in _CALL_FIELDS)


def _is_string(node: Node) -> bool:
    """Whether a node is part of a string that is no docstring."""
    if "string" not in node.type and "heredoc" not in node.type:
        return False
    above = node.parent
    while above is not None and "string" in above.type:
        above = above.parent
    return above is None or above.type != "expression_statement"


def _function_of(node: Node) -> Node | None:
    above = node.parent
    while above is not None and not _FUNCTION.fullmatch(above.type):
        above = above.parent
    return above


def _inside(function: Node) -> tuple[int, int]:
    """A function without its name, which is seen from outside."""
    name = function.child_by_field_name("name")
    return (function.start_byte if name is None else name.end_byte), function.end_byte


def _is_in(span: tuple[int, int], extent: tuple[int, int]) -> bool:
    return extent[0] <= span[0] and span[1] <= extent[1]
