"""What can be renamed in a file: the occurrences that must change together, and names that must stay.

In: a parsed file. Out: units, each the occurrences of one thing. The names are those that Stage I hides (syntax.identifiers).
Stage I treats a name as one word. A program distinguishes more, and a renamed file must still do the same:

- a variable or parameter of JavaScript, TypeScript or Java is a unit of its own in each function that declares it;
- `x` in `event.x` is a member: it changes with the file's own members of that name, and stays where the file defines none;
- what a class declares is a member, also where it looks like a variable or parameter: an assignment in a class body of Python,
  a property of PHP, a parameter property of TypeScript, a component of a record;
- a name that also stands where it cannot change alone (a keyword argument, a shorthand key of an object) stays, and so does a
  member of `self` or of a class of the file that only a variable seems to define.
"""

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from tree_sitter import Node

from codesage import syntax
from codesage.syntax.ancestry import Ancestry, Nearest
from codesage.syntax.name_queries import captures_of_names
from codesage.syntax.tree import SourceTree

Extent = tuple[int, int]  # start and end byte

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
_RECEIVER_FIELDS = ("object", "expression", "receiver", "scope")
_SELVES = {"self", "cls", "this", "$this", "static"}
# Definitions that look like variables or parameters, but are of members.
_PHP_PROPERTIES = {"property_element", "property_promotion_parameter"}
_PROPERTY_MARKS = {"accessibility_modifier", "override_modifier", "readonly"}  # of a parameter of a constructor, in TypeScript
_PYTHON_TARGETS = {"assignment", "augmented_assignment", "pattern_list", "tuple_pattern", "list_pattern", "list_splat_pattern",
                   "for_statement", "as_pattern_target", "tuple", "list", "named_expression"}  # fmt: skip
_PYTHON_SCOPES = {"function_definition", "lambda", "list_comprehension", "set_comprehension", "dictionary_comprehension",
                  "generator_expression", "module"}  # fmt: skip
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
               ("attribute", "member"), ("member", "member"), ("pair", "member"), ("const", "member"), ("event", "member"),
               ("tuple_element", "member"), ("anonymous_object", "member"))  # fmt: skip
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
    captures = captures_of_names(tree)
    by_end = {node.end_byte: node for node in captures.get("leaf", [])}  # marks such as `$` stand before the name
    around = _Around(tree)
    scopes, kinds = _definitions(tree, captures, around)
    in_file = {name for name, of_name in scopes.items() if None in of_name.values()}
    unclear = {name for name in in_file if not _shared(kinds[name])}
    seen = {name: _Scopes(of_name) for name, of_name in scopes.items()}
    own = _own_types(tree, captures, kinds)
    groups: dict[str, dict] = defaultdict(lambda: defaultdict(list))  # of each name: spans by where they belong
    fixed = set()
    for one in occurrences:
        node = by_end.get(one.end_byte)
        member = node is not None and _is_member(node, around)
        if node is not None and (
            _is_fixed(node, around) or (member and one.name in unclear and own.stands_before(node, around))
        ):
            fixed.add(one.name)
        scope = None if member or node is None or one.name not in seen else seen[one.name].at(node.start_byte)
        groups[one.name]["member" if member else scope].append((one.start_byte, one.end_byte))
    whole, made = (0, len(tree.source)), []
    for name, places in groups.items():
        if name not in fixed:
            made += _units_of(name, kinds[name], places, whole if name in in_file else None)
    made.sort(key=lambda unit: unit.spans[0])
    return FileUnits(tuple(made), tuple((one.start_byte, one.end_byte) for one in occurrences), tuple(sorted(fixed)))


class _Around(Ancestry):
    """The nodes around each node of a file, and what is asked of some of them for each of their parts."""

    def __init__(self, tree: SourceTree) -> None:
        super().__init__(tree)
        self.functions = Nearest(self, _FUNCTIONS.get(tree.language, set()).__contains__)
        self.python_scopes = Nearest(self, (_PYTHON_SCOPES | {"class_definition"}).__contains__)
        self._components: dict[int, set[bytes | None]] = {}
        self._labels: dict[int, set[int]] = {}

    def components(self, record: Node) -> set[bytes | None]:
        """The names in the head of a record of Java; none in C#, whose constructors need not repeat them."""
        if record.id not in self._components:
            self._components[record.id] = _components(record)
        return self._components[record.id]

    def is_label(self, node: Node, parent: Node) -> bool:
        """Whether `=` stands after a child of `parent`."""
        if parent.id not in self._labels:
            self._labels[parent.id] = {one.id for one, after in pairwise(parent.children) if after.type == "="}
        return node.id in self._labels[parent.id]


class _Scopes:
    """Whose a name is at each place of a file, by the functions that declare it. One of them is inside of another or apart."""

    def __init__(self, scopes: dict[Extent | None, Extent | None]) -> None:
        self._starts: list[int] = [-1]
        self._scopes: list[Extent | None] = [None]
        open_scopes: list[Extent] = []
        for extent in sorted((extent for extent in scopes if extent is not None), key=lambda extent: (extent[0], -extent[1])):
            self._close(open_scopes, extent[0], scopes)
            open_scopes.append(extent)
            self._begin(extent[0], scopes[extent])
        self._close(open_scopes, None, scopes)

    def at(self, start: int) -> Extent | None:
        """Whose the name at byte `start` is in the innermost of the functions that declare it; None: of the file."""
        return self._scopes[bisect_right(self._starts, start) - 1]

    def _close(self, open_scopes: list[Extent], start: int | None, scopes: dict[Extent | None, Extent | None]) -> None:
        while open_scopes and (start is None or open_scopes[-1][1] <= start):
            end = open_scopes.pop()[1]
            self._begin(end, scopes[open_scopes[-1]] if open_scopes else None)

    def _begin(self, start: int, scope: Extent | None) -> None:
        self._starts.append(start)
        self._scopes.append(scope)


def _units_of(name: str, kinds: Counter, groups: dict, whole: tuple[int, int] | None) -> Iterable[Unit]:
    """`whole`: the extent of the file, or None where the name is only defined inside of functions."""
    shared = _shared(kinds)
    local = next((kind for kind, _ in kinds.most_common() if kind in ("parameter", "variable")), "variable")
    rest = groups.pop(None, []) + (groups.pop("member", []) if shared else [])
    groups.pop("member", None)
    for scope, spans in groups.items():
        yield Unit(name, local, tuple(spans), scope)
    if rest and whole is not None:
        yield Unit(name, shared[0] if shared else local, tuple(sorted(rest)), whole)


def _shared(kinds: Counter) -> list[str]:
    """The kinds of a name, most frequent first, whose occurrences behind a receiver are of the file."""
    return [kind for kind, _ in kinds.most_common() if kind not in ("parameter", "variable")]


class _OwnTypes:
    """What stands before a member that the file must define: `self`, the classes of the file, and its namespaces."""

    def __init__(self, names: set[str], tree: SourceTree) -> None:
        self._names, self._tree = names, tree
        self._longest = max(len(name.encode()) for name in names)

    def stands_before(self, node: Node, around: _Around) -> bool:
        """Whether one of them stands before the dot of a member."""
        parent = around.parent(node)
        fields = _RECEIVER_FIELDS if parent is not None else ()
        receivers = (parent.child_by_field_name(field) for field in fields if parent is not None)
        receiver = next((one for one in receivers if one is not None), None)
        if receiver is None or receiver.end_byte - receiver.start_byte > self._longest:  # it may be a chain of all the file
            return False
        return self._tree.text(receiver) in self._names


def _own_types(tree: SourceTree, captures: dict[str, list[Node]], kinds: dict[str, Counter]) -> _OwnTypes:
    spaces = {tree.text(node) for node in captures.get("dotted", [])}
    return _OwnTypes(_SELVES | {name for name, counts in kinds.items() if "class" in counts} | spaces, tree)


def _definitions(
    tree: SourceTree, captures: dict[str, list[Node]], around: _Around
) -> tuple[dict[str, dict], dict[str, Counter]]:
    """Of each name: whose it is in the functions that declare it, and how often it is of which kind.

    Functions are given as bytes. A name is of the function itself, or of the file (None) where its parameter declares a member.
    """
    functions = _FUNCTIONS.get(tree.language, set())
    scopes: dict[str, dict] = defaultdict(dict)
    kinds: dict[str, Counter] = defaultdict(Counter)
    for node in sorted(captures.get("name", []) + captures.get("candidate", []), key=lambda node: node.start_byte):
        name, kind = tree.text(node).lstrip("$@:#"), _kind_of(node, around)
        kinds[name][kind] += 1
        local = functions and kind in ("parameter", "variable") and _declares(node, around)
        scope = _enclosing(node, around) if local else None
        scopes[name].setdefault(scope, scope)
        if functions and _is_property_parameter(node, around):
            scopes[name][_enclosing(node, around)] = None
    return scopes, kinds


def _kind_of(node: Node, around: _Around) -> str:
    """What a definition's node names: one of KINDS, by the node that it stands in."""
    above = around.parent(node)
    if _is_member(node, around):
        return "function" if above is not None and above.type.startswith("method") else "member"
    if _is_property_parameter(node, around) or _is_property(node, around) or _in_class_body(node, around):
        return "member"
    if above is not None and above.type == "variable_declarator":  # of a field, in Java and C#
        outer = around.parent(above)
        return "member" if outer is not None and _is_field(outer, around) else "variable"
    most = 1 if above is not None and "declarator" not in above.type else 3
    parents = [ancestor.type for ancestor in around.above(node, most)]
    for parent in parents:
        if parent in ("arrow_function", "lambda_expression", "inferred_parameters", "formal_parameters", "lambda_parameters"):
            return "parameter"
        kind = next((kind for word, kind in _KIND_WORDS if word in parent), None)
        if kind is not None:
            return kind
    return "variable"


def _is_property(node: Node, around: _Around) -> bool:
    """Whether a variable of PHP is a property of its class; some are declared as parameters of the constructor."""
    parents = list(around.above(node, 2))
    return len(parents) == 2 and parents[0].type == "variable_name" and parents[1].type in _PHP_PROPERTIES


def _is_property_parameter(node: Node, around: _Around) -> bool:
    """Whether a parameter declares a member: with a modifier in TypeScript, of a record in C# and Java.

    A constructor of a record in Java must call its parameters like the components.
    """
    parents = list(around.above(node, 6))
    if len(parents) > 1 and parents[1].type == "spread_parameter":  # `int... a1`, a declarator in Java
        parents = parents[1:]
    if len(parents) < 3:
        return False
    parameter, _, owner, *outer = parents
    if parameter.type in ("required_parameter", "optional_parameter"):
        return any(child.type in _PROPERTY_MARKS for child in parameter.children)
    if parameter.type not in ("parameter", "formal_parameter", "spread_parameter"):
        return False
    if owner.type == "constructor_declaration" and len(outer) > 1:
        return outer[1].type == "record_declaration" and node.text in around.components(outer[1])
    return owner.type.startswith("record")


def _components(record: Node) -> set[bytes | None]:
    parameters = record.child_by_field_name("parameters")
    declared = parameters.named_children if parameters is not None else ()
    named = [one.child_by_field_name("name") or one.named_children[-1].child_by_field_name("name") for one in declared]
    return {one.text for one in named if one is not None}


def _in_class_body(node: Node, around: _Around) -> bool:
    """Whether an assignment of Python gives a class an attribute: no function and no comprehension is between them."""
    parent = around.parent(node)
    if parent is None or parent.type not in _PYTHON_TARGETS:
        return False
    outer = around.python_scopes.around(node)
    body = outer.child_by_field_name("body") if outer is not None and outer.type == "class_definition" else None
    return body is not None and body.type == "block" and body.start_byte <= node.start_byte


def _is_field(node: Node, around: _Around) -> bool:
    above = around.parent(node)
    return "field" in node.type or (above is not None and "field" in above.type)


def _declares(node: Node, around: _Around) -> bool:
    """Whether a definition declares its name: an assignment does not, nor does a pattern that is assigned to."""
    for ancestor in around.above(node, 12):
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


def _enclosing(node: Node, around: _Around) -> Extent | None:
    function = around.functions.around(node)
    return None if function is None else (function.start_byte, function.end_byte)


def _is_member(node: Node, around: _Around) -> bool:
    return node.type in _MEMBER_TYPES or (_is_field_in(node, _MEMBER_FIELDS, around) and not _receiverless(node, around))


def _receiverless(node: Node, around: _Around) -> bool:
    """Whether a call has no receiver: `run()` is not `it.run()`."""
    parent = around.parent(node)
    return (
        parent is not None
        and parent.type in ("method_invocation", "call")
        and parent.child_by_field_name("object") is None
        and parent.child_by_field_name("receiver") is None
    )


def _is_fixed(node: Node, around: _Around) -> bool:
    return node.type in _FIXED_TYPES or _is_field_in(node, _FIXED_FIELDS, around) or _is_projected(node, around)


def _is_projected(node: Node, around: _Around) -> bool:
    """Whether a variable gives a member of an anonymous object its name, as in `new { size }`."""
    parent = around.parent(node)
    return parent is not None and parent.type == "anonymous_object_creation_expression" and not around.is_label(node, parent)


def _is_field_in(node: Node, fields: dict[str, str], around: _Around) -> bool:
    parent = around.parent(node)
    field = None if parent is None else fields.get(parent.type)
    return parent is not None and field is not None and parent.child_by_field_name(field) == node
