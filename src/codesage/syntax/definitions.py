"""Finds the definitions in a syntax tree: their names, where their code begins and ends, and their bodies.

One query per language captures candidates in a single pass over the tree. Where definitions have keywords, keywords.py finds
the same candidates without it. A candidate is a definition if it has a name (names.py) and a body, and if it is not an
artefact of error recovery (soundness.py).

A statement can define several names (`let up = () => {}, down = () => {}`, Go's `type (...)`). Each name is a separate
definition. The code of the first one begins where the statement begins, if the name is on the statement's first line.
"""

import re
from operator import attrgetter, itemgetter
from typing import NamedTuple

from tree_sitter import Node

from codesage.syntax.keywords import captures_by_keywords
from codesage.syntax.macros import behind_calls
from codesage.syntax.names import name_of
from codesage.syntax.soundness import Errors, reserved
from codesage.syntax.tree import SourceTree

_FUNCTION = "(arrow_function) (function_expression) (generator_function)"
# Values that a name can be bound to: a function or class, also in brackets, passed to a wrapper (`memoize(() => {})`), or
# with `.bind(x)`. In TypeScript, casts and brackets stand around these in any order, so _bound_to looks into all of them.
_VALUE = f"""[{_FUNCTION} (class) (parenthesized_expression [{_FUNCTION}])
 (call_expression arguments: (arguments [{_FUNCTION} (call_expression arguments: (arguments [{_FUNCTION}]))]))
 (call_expression function: (member_expression object: [(function_expression) (parenthesized_expression)]))"""
_TYPED = "(as_expression) (satisfies_expression) (non_null_expression) (parenthesized_expression)"
_ASSERTED = "[(_ value: (type_assertion)) (assignment_expression right: (type_assertion))] @bound"  # not in the dialect TSX
_ECMA = """
[(function_declaration) (generator_function_declaration) (method_definition)] @function
(class_declaration) @class (return_statement) @return
(_ value: VALUE]) @bound (assignment_expression right: VALUE]) @bound
"""


QUERIES = {
    "python": """(function_definition) @function (class_definition) @class (return_statement) @return
        (decorated_definition) @wrapper""",
    "java": """[(method_declaration) (constructor_declaration) (compact_constructor_declaration)] @function
        [(class_declaration) (interface_declaration) (enum_declaration) (record_declaration)
         (annotation_type_declaration)] @class (return_statement) @return""",
    "javascript": _ECMA.replace("VALUE", _VALUE),
    "typescript": _ECMA.replace("VALUE", _VALUE + _TYPED)
    + "[(abstract_class_declaration) (interface_declaration) (enum_declaration)] @class",
    "csharp": """[(method_declaration) (constructor_declaration) (local_function_statement) (operator_declaration)
         (conversion_operator_declaration) (destructor_declaration)] @function
        (property_declaration accessors: (accessor_list (accessor_declaration body: (_)))) @repeated
        (property_declaration value: (arrow_expression_clause)) @function
        (indexer_declaration accessors: (accessor_list (accessor_declaration body: (_)))) @repeated
        (indexer_declaration value: (arrow_expression_clause)) @function
        (event_declaration accessors: (accessor_list (accessor_declaration body: (_)))) @repeated
        [(class_declaration) (struct_declaration) (interface_declaration) (enum_declaration) (record_declaration)]
        @class (return_statement) @return""",
    "c": """(function_definition) @function [(struct_specifier body: (_)) (union_specifier body: (_))
         (enum_specifier body: (_))] @class (return_statement) @return""",
    "ruby": """[(method) (singleton_method)] @function [(class) (module)] @class (return) @return
        (if_modifier body: (return)) @return (unless_modifier body: (return)) @return""",
    "go": """[(function_declaration) (method_declaration)] @function
        (var_spec value: (expression_list (func_literal))) @repeated
        [(type_spec type: [(struct_type) (interface_type)]) (type_alias type: [(struct_type) (interface_type)])] @class
        (return_statement) @return""",
    "php": """[(function_definition) (method_declaration)] @function
        (property_declaration (property_hook_list (property_hook body: (_)))) @repeated
        [(class_declaration) (interface_declaration) (trait_declaration) (enum_declaration)] @class
        (return_statement) @return""",
}
_WORDS = {  # one of them is in every definition; PHP's may be in capitals
    "python": ("def", "class"),
    "c": ("{",),
    "go": ("func", "struct", "interface"),
    "php": ("function", "class", "interface", "trait", "enum"),
}
_DYNAMIC = re.compile(rb"\bdefine_(?:singleton_)?method\b|=\s*(?:Struct|Class|Module|Data)\.\w")
_DYNAMIC_PARTS = (b"define_", b"Struct.", b"Class.", b"Module.", b"Data.")  # one is in every match of _DYNAMIC
_DYNAMIC_QUERY = """
((identifier) @_definer . (argument_list . [(simple_symbol) (string)]) . [(block) (do_block)] @block
 (#any-of? @_definer "define_method" "define_singleton_method"))
(assignment left: [(constant) (scope_resolution)] right: (call receiver: (constant) @_maker block: (_))
 (#any-of? @_maker "Struct" "Class" "Module" "Data")) @class
"""

# Nodes that only wrap a definition; its code begins where they begin.
_WRAPPERS = {
    "javascript": {
        "export_statement",
        "lexical_declaration",
        "variable_declaration",
        "expression_statement",
        "assignment_expression",
        "variable_declarator",
    },
    "c": {"type_definition"},
    "go": {"type_declaration", "var_declaration", "var_spec_list"},
    "ruby": {"argument_list", "call"},
}
_WRAPPERS["typescript"] = _WRAPPERS["javascript"] | {"ambient_declaration"}
# Looking up a node's parent is slow. These kinds have no wrapper; those in _LEADING have none at the start of a line.
_UNWRAPPABLE = {
    "method_definition",
    "pair",
    "field_definition",
    "public_field_definition",
    "function_definition",
    "method_declaration",
}
_LEADING = {
    "function_declaration",
    "generator_function_declaration",
    "class_declaration",
    "abstract_class_declaration",
    "interface_declaration",
    "enum_declaration",
    "method",
    "singleton_method",
    "call",
    "class",
    "module",
    "assignment",
}
_DECORATED = {
    "method_definition",
    "field_definition",
    "public_field_definition",
    "class_declaration",
    "abstract_class_declaration",
}
_MEMBERS = {"variable_declarator", "type_spec", "type_alias", "var_spec"}  # nodes for one name of a statement
_VALUE_FIELDS = {"assignment_expression": "right"}  # field with the value in nodes that bind a name; elsewhere "value"
_ECMA_LANGUAGES = {"javascript", "typescript"}
_IS_FUNCTION = {"arrow_function", "function_expression", "generator_function"}
_GIVEN = {*_IS_FUNCTION, "call_expression"}
_IS_DEFINED = {*_IS_FUNCTION, "class"}
_UNWRAPPED = {  # brackets and casts, and which of their parts is the value
    "parenthesized_expression": 0,
    "as_expression": 0,
    "satisfies_expression": 0,
    "non_null_expression": 0,
    "type_assertion": 1,
}
# Functions that return their argument, wrapped in some way. Most other calls (`map`, `then`) return something else.
_WRAPPING = re.compile(
    rb"memo(?:ize\w*)?|forwardRef|use(?:Callback|Event|EffectEvent)|(?:make)?[dD]ual|[fF]n|fnUntraced|debounced?|throttled?|once"
    rb"|curry(?:N|Right)?|wrap\w*|promisify|callbackify|deprecate\w*|observer|action|asyncHandler|catchAsync|coroutine|unbound"
)
_BODY_FIELDS = {
    "type_spec": "type",
    "type_alias": "type",
    "assignment": "right",
    "call": "block",
    "indexer_declaration": "accessors",
    "property_declaration": "accessors",
    "event_declaration": "accessors",
}
_BLOCKS = {"block", "body_statement", "arrow_expression_clause", "enum_member_declaration_list", "property_hook_list"}
_WIDE = 200  # bytes of a line comment behind a decorator, at most
_PLACE = itemgetter(0, 1, 2)
_START = attrgetter("start_byte")


class Definition(NamedTuple):
    """One definition. Sorted, an outer definition comes before those inside it."""

    start: int  # of `node`, in bytes
    last: int  # end of `node` in bytes, negated
    kind: str  # "function" or "class"
    name: str
    node: Node
    body: Node
    begin: int  # of the code, including decorators, `export` and `const`, in bytes
    end: int
    row: int  # line of `begin`, from 0


class Scan(NamedTuple):
    """The results of one pass over a tree."""

    definitions: list[Definition]  # in source order
    returns: list[tuple[int, int]]  # (start, negated end) of return statements in source order


class _Known(NamedTuple):
    """What is known of a tree when its definitions are made."""

    errors: Errors | None
    decorated: dict[int, Node]  # in Python, the node with the decorators of a definition, by the latter's id
    members: dict[int, list[Node]]  # of the statements that were looked at

    def members_of(self, statement: Node) -> list[Node]:
        """The nodes for one name each of a statement, found once for all of them."""
        if statement.id not in self.members:
            self.members[statement.id] = [child for child in statement.named_children if child.type in _MEMBERS]
        return self.members[statement.id]


def may_define(text: str, language: str) -> bool:
    """Whether a text may have definitions, by a search for words. Without one of them it need not be parsed: it is data."""
    text = text.lower() if language == "php" else text
    return language not in _WORDS or any(word in text for word in _WORDS[language])


def scan(tree: SourceTree) -> Scan:
    """The definitions and the return statements of a tree."""
    found = tree.errors() if tree.has_errors else []
    captures = _captures(tree, found)
    for kind in ("class", "function", "repeated", "bound"):
        captures.get(kind, []).sort(key=_START)  # parents are quick to find in the order of the text
    errors = Errors(tree, found) if found else None
    decorated = {
        inner.id: node for node in captures.get("wrapper", ()) if (inner := node.child_by_field_name("definition")) is not None
    }
    known = _Known(errors, decorated, {})
    definitions: list[Definition | None] = []
    for kind in ("class", "function"):
        definitions += [_definition(tree, node, kind, node, known) for node in captures.get(kind, ())]
    for node in dict.fromkeys(captures.get("repeated", ())):  # captured once for each accessor, hook or value
        if node.type == "var_spec":
            definitions += _of_var_spec(tree, node, known)
        else:
            definitions.append(_definition(tree, node, "function", node, known))
    for node in dict.fromkeys(captures.get("bound", ())):
        value = _bound_to(tree, node.child_by_field_name(_VALUE_FIELDS.get(node.type, "value")))
        if value is not None:
            kind = "class" if value.type == "class" else "function"
            definitions.append(_definition(tree, node, kind, value, known))
    returns = sorted([(node.start_byte, -node.end_byte) for node in captures.get("return", ())])
    return Scan(sorted(filter(None, definitions), key=_PLACE), returns)


def _captures(tree: SourceTree, errors: list[Node]) -> dict[str, list[Node]]:
    dynamic = tree.language == "ruby" and _defines_dynamically(tree.source)
    captures = None if dynamic else captures_by_keywords(tree, errors)
    if captures is None:
        captures = tree.unsorted_captures(_query(tree, dynamic))
    blocks = sorted(captures.pop("block", ()), key=_START)
    calls = [call for block in blocks if (call := tree.parent(block)) is not None and call.child_by_field_name("method")]
    return captures | {"function": captures.get("function", []) + calls} if calls else captures


def _query(tree: SourceTree, dynamic: bool) -> str:
    query = QUERIES[tree.language]
    if dynamic:  # Ruby code is full of calls: checking each is slow
        query += _DYNAMIC_QUERY
    elif tree.language == "typescript" and not tree.tsx:
        query += _ASSERTED
    return query


def _defines_dynamically(source: bytes) -> bool:
    return any(part in source for part in _DYNAMIC_PARTS) and _DYNAMIC.search(source) is not None


def _definition(tree: SourceTree, node: Node, kind: str, value: Node, known: _Known) -> Definition | None:
    kind_of_node = node.type
    body = _body(value, kind_of_node if value is node else value.type)
    if body is None:
        return None
    name, begin = _name_and_begin(tree, node, value, kind, body)
    if not name or reserved(tree, node, name):
        return None
    errors = known.errors
    if errors is not None and node.has_error:
        begin = begin if begin > node.start_byte else errors.start(node, body)
        if not errors.sound(node, name, body, begin):
            return None
    first, final = _statement(tree, node, kind_of_node, known)
    start, row = first.start_byte, first.start_point.row
    if begin > node.start_byte:
        row += tree.source.count(b"\n", start, begin)
        start = begin
    elif errors is not None and kind == "function" and tree.language == "c" and (header := errors.header(node)) < start:
        row -= tree.source.count(b"\n", header, start)
        start = header
    return Definition(node.start_byte, -node.end_byte, kind, name, node, body, start, final.end_byte, row)


def _name_and_begin(tree: SourceTree, node: Node, value: Node, kind: str, body: Node) -> tuple[str, int]:
    """The name of a definition, and the first byte of its code if calls of C macros are before it, else 0."""
    name = name_of(tree, node)
    is_no_name = not name or name == "exports" or (kind == "class" and name.startswith("_"))
    if value is not node and is_no_name and (own := value.child_by_field_name("name")) is not None:
        return tree.text(own), 0  # module.exports = function name() {}, or what compilers make: let _a = class Name {}
    if name and kind == "function" and tree.language == "c":
        header = behind_calls(tree.source, node.start_byte, body.start_byte, name)
        return (name, 0) if header is None else header
    return name, 0


def _bound_to(tree: SourceTree, value: Node | None) -> Node | None:
    """The function or class in a value: itself, or inside brackets, casts and wrapping calls."""
    while value is not None and value.type not in _IS_DEFINED:
        if value.type == "call_expression":
            value = _wrapped(tree, value)
        else:
            value = value.named_child(_UNWRAPPED[value.type]) if value.type in _UNWRAPPED else None
    return value


def _wrapped(tree: SourceTree, call: Node) -> Node | None:
    """The function that a call returns in some form: the argument of a wrapper, or the object of `.bind(...)`."""
    function = call.child_by_field_name("function")
    callee = tree.source[function.start_byte : function.end_byte].rpartition(b".")[2] if function is not None else b""
    if function is not None and callee == b"bind":
        return function.child_by_field_name("object")
    arguments = call.child_by_field_name("arguments")
    if arguments is None or not _WRAPPING.fullmatch(callee):
        return None
    return next((child for child in arguments.named_children if child.type in _GIVEN), None)


def _body(node: Node, kind: str) -> Node | None:
    body = node.child_by_field_name(_BODY_FIELDS.get(kind, "body"))
    if body is None:
        return _last_block(node)
    if kind in ("assignment", "call"):  # in Ruby, the body of the block
        block = body.child_by_field_name("block") if kind == "assignment" else body
        return None if block is None else block.child_by_field_name("body")
    return body


def _last_block(node: Node) -> Node | None:
    """The body of a node without a field for it: expression-bodied members in C#, hooks in PHP."""
    for child in reversed(node.named_children):
        if child.type in _BLOCKS:
            return child
    return None


def _of_var_spec(tree: SourceTree, node: Node, known: _Known) -> list[Definition]:
    """The functions that a Go `var` binds; several names in one specification have one value each."""
    names, value = node.children_by_field_name("name"), node.child_by_field_name("value")
    values = [] if value is None else value.named_children
    if len(names) != len(values):
        return []
    definitions = []
    for index, (name, value) in enumerate(zip(names, values, strict=True)):
        body = value.child_by_field_name("body") if value.type == "func_literal" else None
        if body is not None:
            first, final = (value, value) if index else _statement(tree, node, node.type, known)
            final = final if len(names) == 1 else value
            definitions.append(
                Definition(
                    value.start_byte,
                    -value.end_byte,
                    "function",
                    tree.text(name),
                    value,
                    body,
                    first.start_byte,
                    final.end_byte,
                    first.start_point.row,
                )
            )
    return definitions


def _statement(tree: SourceTree, node: Node, kind: str, known: _Known) -> tuple[Node, Node]:
    """The first and the last node of the code of a definition, whose node is of this `kind`."""
    language = tree.language
    if language == "python":
        first = known.decorated.get(node.id, node) if known.decorated else node
        return first, first
    wrappers = _WRAPPERS.get(language)
    if wrappers is None or kind in _UNWRAPPABLE or (kind in _LEADING and _leads(tree.source, node.start_byte)):
        first = final = node
    else:
        first, final = _climb(tree, node, wrappers, known)
    if language in _ECMA_LANGUAGES and kind in _DECORATED and _follows_decorator(tree.source, first.start_byte):
        first = _first_decorator(first)
    return first, final


def _climb(tree: SourceTree, node: Node, wrappers: set[str], known: _Known) -> tuple[Node, Node]:
    first = final = node
    alone = True
    while (parent := tree.parent(first)) is not None and parent.type in wrappers:
        if first.type in _MEMBERS and not _is_alone(first, parent, known.members_of(parent)):
            if first.start_point.row > parent.start_point.row or first != known.members_of(parent)[0]:
                return first, first if alone else final
            alone, final = False, first
        first = parent
        final = first if alone else final
    return first, final


def _is_alone(member: Node, statement: Node, members: list[Node]) -> bool:
    """Whether a statement defines only one name and has no comment about that name inside it."""
    if statement.named_child_count == 1:
        return True
    if len(members) > 1:
        return False
    before = member.prev_named_sibling
    return before is None or before.type != "comment" or member.start_point.row == statement.start_point.row


def _first_decorator(node: Node) -> Node:
    """The first of the decorators before a node, or the node. There may be comments between them."""
    first = before = node
    while (before := before.prev_sibling) is not None and before.type in ("decorator", "comment"):
        first = before if before.type == "decorator" else first
    return first


def _leads(source: bytes, start: int) -> bool:
    """Whether there is only white space before `start` on its line."""
    return not source[source.rfind(b"\n", 0, start) + 1 : start].strip()


def _follows_decorator(source: bytes, start: int) -> bool:
    """Whether a decorator may precede `start`: not if a bracket or a separator does. Comments between them do not count."""
    while True:
        start -= 1
        while start >= 0 and source[start] in b" \t\r\n":
            start -= 1
        if start < 1 or source[start - 1 : start + 1] != b"*/":
            break
        start = source.rfind(b"/*", 0, start)
    if start < 0 or source[start] not in b"{};,":
        return start >= 0
    comment = source.rfind(b"//", max(0, start - _WIDE), start)
    return comment >= 0 and b"\n" not in source[comment:start]
