"""What can be renamed in a file: the occurrences that must change together, and names that must stay.

In: a parsed file. Out: units, each the occurrences of one thing. The names are those that Stage I hides (syntax.identifiers).
Stage I treats a name as one word. A program distinguishes more, and a renamed file must still do the same:

- a variable or parameter of JavaScript, TypeScript or Java is a unit of its own in each function that declares it;
- `x` in `event.x` is a member: it changes with the file's own members of that name, and stays where the file defines none;
- a name that also stands where it cannot change alone (a keyword argument, a shorthand key of an object) stays.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tree_sitter import Node

from codesage import syntax
from codesage.syntax.name_queries import QUERIES
from codesage.syntax.tree import SourceTree

KINDS = ("class", "function", "member", "parameter", "variable")
_MEMBER_TYPES = {"property_identifier", "private_property_identifier", "field_identifier"}
_MEMBER_FIELDS = {  # a node, and its field in which a member stands
    "attribute": "attribute",
    "field_access": "field",
    "method_invocation": "name",
    "member_access_expression": "name",
    "member_binding_expression": "name",
    "member_call_expression": "name",
    "scoped_call_expression": "name",
    "nullsafe_member_call_expression": "name",
    "call": "method",
}
_FIXED_TYPES = {"shorthand_property_identifier", "shorthand_property_identifier_pattern", "hash_key_symbol", "simple_symbol"}
_FIXED_FIELDS = {"keyword_argument": "name", "argument": "name", "keyword_parameter": "name"}
_ECMA_FUNCTIONS = {
    "function_declaration",
    "function_expression",
    "arrow_function",
    "method_definition",
    "generator_function_declaration",
    "generator_function",
}
_FUNCTIONS = {
    "javascript": _ECMA_FUNCTIONS,
    "typescript": _ECMA_FUNCTIONS,
    "java": {"method_declaration", "constructor_declaration", "lambda_expression"},
}
_KIND_WORDS = (("parameter", "parameter"), ("class", "class"), ("interface", "class"), ("struct", "class"), ("enum", "class"),
               ("trait", "class"), ("module", "class"), ("record", "class"), ("type", "class"), ("function", "function"),
               ("method", "function"), ("constructor", "function"), ("field", "member"), ("property", "member"),
               ("attribute", "member"), ("member", "member"), ("pair", "member"), ("const", "member"))  # fmt: skip
_PLACEHOLDER = re.compile(
    r"[A-Za-z]{1,2}\d*|[A-Za-z]|_?0x[0-9a-fA-F]+|(?:[a-z]{0,4}(?:[Vv]ar|[Aa]rg|[Pp]aram|local|field|func|method|class|tmp|temp|val|sub"
    r"|FUN|DAT|LAB|loc|object|str|param|string|array|list|flag|bool|int|num|obj))_?[0-9a-fA-F]+(?:_[a-z]{1,2})?"
    r"|(?:p|f|m|field|func|method|param)_\d+(?:_[a-zA-Z]{1,3})?_?|[A-Z][a-z]?Var\d+|(?:foo|bar|baz|qux|tmp|temp)\d*"
)
_USUAL = {"i", "j", "k", "x", "y", "z", "n", "id", "db", "fs", "os", "io", "ok", "to", "of", "on", "up", "go", "in", "is", "fn",
          "tx", "rx", "ip", "ui", "T", "K", "V", "E", "_"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing with a name: its occurrences, and the part of the file in which its name is seen."""

    name: str
    kind: str  # one of KINDS
    spans: tuple[tuple[int, int], ...]  # start and end byte of each occurrence, in order
    scope: tuple[int, int]  # start and end byte


@dataclass(frozen=True, slots=True)
class FileUnits:
    """The units of a file in the order of their first occurrence, all names that stand alone, and names that must stay."""

    units: tuple[Unit, ...]
    names: tuple[tuple[int, int], ...]
    fixed: tuple[str, ...]


def is_placeholder(name: str) -> bool:
    """Whether a name is a placeholder, as minifiers and decompilers write them: `t`, `a2`, `var3`, `_0x1f`, `func_1234_a`."""
    return name not in _USUAL and _PLACEHOLDER.fullmatch(name) is not None


def units(tree: SourceTree) -> FileUnits:
    """What can be renamed in the file of `tree`; not names that imports bind, and not names from other files."""
    occurrences = syntax.identifiers(tree)
    leaves = tree.unsorted_captures(QUERIES[tree.language]).get("leaf", [])
    by_end = {node.end_byte: node for node in leaves}  # marks such as `$` stand before the name
    scopes, kinds = _definitions(tree)
    groups: dict[str, dict] = defaultdict(lambda: defaultdict(list))  # of each name: spans by where they belong
    fixed = set()
    for one in occurrences:
        node = by_end.get(one.end_byte)
        if node is not None and _is_fixed(node):
            fixed.add(one.name)
        member = node is not None and _is_member(node)
        scope = None if member or node is None else _scope_of(node, scopes[one.name])
        groups[one.name]["member" if member else scope].append((one.start_byte, one.end_byte))
    whole, made = (0, len(tree.source)), []
    for name, places in groups.items():
        if name not in fixed:
            made += _units_of(name, kinds[name], places, whole if None in scopes[name] else None)
    made.sort(key=lambda unit: unit.spans[0])
    return FileUnits(tuple(made), tuple((one.start_byte, one.end_byte) for one in occurrences), tuple(sorted(fixed)))


def _units_of(name: str, kinds: Counter, groups: dict, whole: tuple[int, int] | None) -> Iterable[Unit]:
    """`whole`: the extent of the file, or None where the name is only defined inside of functions."""
    shared = [kind for kind, _ in kinds.most_common() if kind not in ("parameter", "variable")]
    local = next((kind for kind, _ in kinds.most_common() if kind in ("parameter", "variable")), "variable")
    rest = groups.pop(None, []) + (groups.pop("member", []) if shared else [])
    groups.pop("member", None)
    for scope, spans in groups.items():
        yield Unit(name, local, tuple(spans), scope)
    if rest and whole is not None:
        yield Unit(name, shared[0] if shared else local, tuple(sorted(rest)), whole)


def _definitions(tree: SourceTree) -> tuple[dict[str, set], dict[str, Counter]]:
    """Of each name: the functions that declare it, as bytes (None: the file), and how often it is of which kind."""
    captures = tree.unsorted_captures(QUERIES[tree.language])
    functions = _FUNCTIONS.get(tree.language, set())
    scopes: dict[str, set] = defaultdict(set)
    kinds: dict[str, Counter] = defaultdict(Counter)
    for node in sorted(captures.get("name", []) + captures.get("candidate", []), key=lambda node: node.start_byte):
        name, kind = tree.text(node).lstrip("$@:#"), kind_of(node)
        kinds[name][kind] += 1
        local = functions and kind in ("parameter", "variable") and _declares(node)
        scopes[name].add(_enclosing(node, functions) if local else None)
    return scopes, kinds


def kind_of(node: Node) -> str:
    """What a definition's node names: one of KINDS, by the node that it stands in."""
    if _is_member(node):
        return "function" if node.parent is not None and node.parent.type.startswith("method") else "member"
    above = node.parent
    if above is not None and above.type == "variable_declarator":  # of a field, in Java and C#
        return "member" if above.parent is not None and _is_field(above.parent) else "variable"
    parents = [ancestor.type for ancestor in _above(node, 1 if above is not None and "declarator" not in above.type else 3)]
    for parent in parents:
        if parent in ("arrow_function", "lambda_expression", "inferred_parameters", "formal_parameters", "lambda_parameters"):
            return "parameter"
        kind = next((kind for word, kind in _KIND_WORDS if word in parent), None)
        if kind is not None:
            return kind
    return "variable"


def _is_field(node: Node) -> bool:
    return "field" in node.type or (node.parent is not None and "field" in node.parent.type)


def _above(node: Node, most: int) -> Iterable[Node]:
    while most and node.parent is not None:
        node, most = node.parent, most - 1
        yield node


def _declares(node: Node) -> bool:
    """Whether a definition declares its name: an assignment does not, nor does a pattern that is assigned to."""
    for ancestor in _above(node, 12):
        if ancestor.type in ("assignment_expression", "augmented_assignment_expression"):
            return False
        if ancestor.type in (
            "variable_declarator",
            "formal_parameters",
            "catch_clause",
            "arrow_function",
            "formal_parameter",
            "lambda_expression",
            "resource",
            "enhanced_for_statement",
        ):
            return True
    return True


def _enclosing(node: Node, functions: set[str]) -> tuple[int, int] | None:
    above = node.parent
    while above is not None and above.type not in functions:
        above = above.parent
    return None if above is None else (above.start_byte, above.end_byte)


def _scope_of(node: Node, scopes: set) -> tuple[int, int] | None:
    """The innermost of the functions that declares the name at `node`; None where none does."""
    if not scopes - {None}:
        return None
    above = node.parent
    while above is not None and (above.start_byte, above.end_byte) not in scopes:
        above = above.parent
    return None if above is None else (above.start_byte, above.end_byte)


def _is_member(node: Node) -> bool:
    return node.type in _MEMBER_TYPES or (_is_field_in(node, _MEMBER_FIELDS) and not _receiverless(node))


def _receiverless(node: Node) -> bool:
    """Whether a call has no receiver: `run()` is not `it.run()`."""
    parent = node.parent
    return (
        parent is not None
        and parent.type in ("method_invocation", "call")
        and parent.child_by_field_name("object") is None
        and parent.child_by_field_name("receiver") is None
    )


def _is_fixed(node: Node) -> bool:
    return node.type in _FIXED_TYPES or _is_field_in(node, _FIXED_FIELDS)


def _is_field_in(node: Node, fields: dict[str, str]) -> bool:
    parent = node.parent
    field = None if parent is None else fields.get(parent.type)
    return parent is not None and field is not None and parent.child_by_field_name(field) == node
