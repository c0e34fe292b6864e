"""A parsed text to its functions, methods and classes, with signature, body, docstring and the hard positive.

One query per language captures definitions and return statements in a single pass over the tree; everything after
that is byte ranges, and the texts of bodies are made of them when they are read.
"""

from bisect import bisect_left
from operator import itemgetter
from typing import NamedTuple

from tree_sitter import Node

from codesage.records import Function
from codesage.syntax.docstrings import comment_before, python_docstring
from codesage.syntax.tree import SourceTree

_BOUND = """
(variable_declarator name: (identifier) value: [(arrow_function) (function_expression)]) @function
(assignment_expression left: [(identifier) (member_expression)] right: [(arrow_function) (function_expression)]) @function
(pair key: (property_identifier) value: [(arrow_function) (function_expression)]) @function
(function_declaration) @function (generator_function_declaration) @function (method_definition) @function
(class_declaration) @class (return_statement) @return
"""

_QUERIES = {
    "python": "(function_definition) @function (class_definition) @class (return_statement) @return",
    "java": """[(method_declaration) (constructor_declaration) (compact_constructor_declaration)] @function
        [(class_declaration) (interface_declaration) (enum_declaration) (record_declaration)
         (annotation_type_declaration)] @class (return_statement) @return""",
    "javascript": _BOUND + "(field_definition value: [(arrow_function) (function_expression)]) @function",
    "typescript": _BOUND
    + """(public_field_definition value: [(arrow_function) (function_expression)]) @function
        [(abstract_class_declaration) (interface_declaration) (enum_declaration)] @class""",
    "csharp": """[(method_declaration) (constructor_declaration) (local_function_statement) (operator_declaration)
         (destructor_declaration)] @function
        [(class_declaration) (struct_declaration) (interface_declaration) (enum_declaration) (record_declaration)]
        @class (return_statement) @return""",
    "c": """(function_definition) @function [(struct_specifier body: (_)) (union_specifier body: (_))
         (enum_specifier body: (_))] @class (return_statement) @return""",
    "ruby": """[(method) (singleton_method)] @function [(class) (module)] @class (return) @return
         (if_modifier body: (return)) @return (unless_modifier body: (return)) @return""",
    "go": """[(function_declaration) (method_declaration)] @function
        (type_spec type: [(struct_type) (interface_type)]) @class (return_statement) @return""",
    "php": """[(function_definition) (method_declaration)] @function
        [(class_declaration) (interface_declaration) (trait_declaration) (enum_declaration)] @class
        (return_statement) @return""",
}
# Nodes that only wrap a definition: it starts where they start.
_WRAPPERS = {"decorated_definition", "export_statement", "lexical_declaration", "variable_declaration",
             "expression_statement", "type_declaration", "type_definition"}  # fmt: skip
_WRAPPED = {  # what such nodes can stand around, by language: a node's parent is dear to ask for
    "python": ("function", "class"), "javascript": ("function", "class"), "typescript": ("function", "class"),
    "c": ("class",), "go": ("class",),
}  # fmt: skip
_FUNCTION_VALUES = {"arrow_function", "function_expression"}
_ECMA = {"javascript", "typescript"}
_NAME_FIELDS = {language: ("name", "left", "key", "property") for language in _ECMA}  # the others: "name"
_BLOCKS = {"block", "body_statement"}
_PYTHON_FIRST = tuple(bytes([byte]) for byte in b"'\"rRuUbBfF#\\")  # of a body with a docstring, or a comment before it
_PLACE = itemgetter(0, 1, 2)


class _Definition(NamedTuple):
    start: int  # of `node`, in bytes
    last: int  # the end, negative: what is around comes first
    kind: str
    node: Node
    outer: Node  # with what wraps it: decorators, `export`, `const`
    name: str
    body: Node


def functions(tree: SourceTree) -> list[Function]:
    """Functions, methods, constructors and classes with a body, in source order (a class before its methods).

    Function expressions count where they are bound to a name. A definition without a name or a body is left out.
    """
    found = tree.found(_QUERIES[tree.language])
    returns = sorted([(node.start_byte, -node.end_byte) for node in found.get("return", ())])  # what is around comes first
    definitions = [_definition(tree, node, kind) for kind in ("class", "function") for node in found.get(kind, ())]
    definitions = sorted(filter(None, definitions), key=_PLACE)
    around: list[tuple[int, str]] = []  # (end, name of the nearest class) of the definitions around
    result = []
    for definition in definitions:
        while around and around[-1][0] <= definition.start:
            around.pop()
        parent = around[-1][1] if around else ""
        result.append(_function(tree, definition, parent or _receiver(tree, definition.node), returns))
        around.append((-definition.last, definition.name if definition.kind == "class" else parent))
    return result


def _definition(tree: SourceTree, node: Node, kind: str) -> _Definition | None:
    language = tree.language
    value = _value(node) if language in _ECMA else None
    body = (value or node).child_by_field_name("body")
    if body is None:  # expression-bodied C# members, Go's type specs, bodies that are no field
        body = node.child_by_field_name("type") if node.type == "type_spec" else _last_block(node)
    name = _name(tree, node)
    if body is None or not name:
        return None
    outer = _outermost(node) if kind in _WRAPPED.get(language, ()) else node
    while language in _ECMA and (before := outer.prev_sibling) is not None and before.type == "decorator":
        outer = before  # TypeScript's methods
    return _Definition(node.start_byte, -node.end_byte, kind, node, outer, name, body)


def _outermost(node: Node) -> Node:
    while (parent := node.parent) is not None and parent.type in _WRAPPERS:
        node = parent
    return node


def _value(node: Node) -> Node | None:
    for field in ("value", "right"):
        value = node.child_by_field_name(field)
        if value is not None and value.type in _FUNCTION_VALUES:
            return value
    return None


def _last_block(node: Node) -> Node | None:
    for child in reversed(node.named_children):
        if child.type in ("block", "body_statement", "arrow_expression_clause", "enum_member_declaration_list"):
            return child
    return None


def _name(tree: SourceTree, node: Node) -> str:
    for field in _NAME_FIELDS.get(tree.language, ("name",)):
        name = node.child_by_field_name(field)
        if name is not None:
            if name.type == "member_expression":
                name = name.child_by_field_name("property")
            return tree.text(name) if name is not None else ""
    name = node.child_by_field_name("declarator")  # C: behind pointers and parameter lists
    while name is not None and name.type not in ("identifier", "field_identifier", "type_identifier"):
        name = name.child_by_field_name("declarator")
    if name is None and node.parent is not None and node.parent.type == "type_definition":  # typedef struct {...} name;
        name = node.parent.child_by_field_name("declarator")
    return tree.text(name) if name is not None else ""


def _receiver(tree: SourceTree, node: Node) -> str:
    receiver = node.child_by_field_name("receiver") if tree.language == "go" else None
    if receiver is None:
        return ""
    text = tree.text(receiver).strip("() ").split("[")[0]
    return text.split()[-1].lstrip("*") if text.split() else ""


def _function(tree: SourceTree, definition: _Definition, parent: str, returns: list[tuple[int, int]]) -> Function:
    source, body, outer = tree.source, definition.body, definition.outer
    start, end, opening = definition.start, -definition.last, body.start_byte
    if outer is not definition.node:
        start, end = outer.start_byte, end if outer.type == "decorator" else outer.end_byte
    inner, docstring, doc_start = opening, "", start
    if tree.language == "python":
        literal = _python_docstring_node(body) if source[opening : opening + 1] in _PYTHON_FIRST else None
        if literal is not None:
            docstring = python_docstring(tree.text(literal))
            inner = _skip_blank(source, literal.end_byte, body.end_byte)
    else:
        docstring, doc_start = comment_before(source, start, tree.language)
    return Function(
        definition.kind, definition.name, parent, tree.language, source[start:opening].decode("utf-8", "replace"), docstring,
        outer.start_point.row + 1, definition.node.end_point.row + 1, start, end, doc_start, inner,
        _bare(source, definition, inner, returns), source,
    )  # fmt: skip


def _python_docstring_node(body: Node) -> Node | None:
    first = body.named_child(0)
    while first is not None and first.type == "comment":
        first = first.next_named_sibling
    if first is None:
        return None
    if first.type == "expression_statement" and first.named_child_count == 1:
        first = first.named_child(0)
    return first if first.type == "string" else None


def _skip_blank(source: bytes, start: int, end: int) -> int:
    """First byte after the docstring that is neither blank nor a line break: the body goes on there."""
    while start < end and source[start] in b" \t\r\n;":
        start += 1
    return start


def _bare(source: bytes, definition: _Definition, inner: int, returns: list[tuple[int, int]]) -> tuple[int, ...]:
    """Where the pieces of the body start and end that stay without outer braces and return statements.

    Return statements of nested functions go too. (Their results are as telling as its own, and what is left is the same
    whoever owns them.) A class keeps its methods whole. A body that is one expression is itself the returned value:
    nothing is left of it.
    """
    body, start, end = definition.body, inner, definition.body.end_byte
    if source.startswith((b"struct", b"interface"), start) and body.type in ("struct_type", "interface_type"):  # Go
        start = max(start, source.find(b"{", start, end))
    if source.startswith(b"{", start) and source.endswith(b"}", start, end):
        start, end = start + 1, end - 1
    elif definition.kind == "function" and body.type not in _BLOCKS:
        return ()
    if definition.kind == "class":
        return start, end
    borders, position = [start], start
    for index in range(bisect_left(returns, (start,)), len(returns)):
        first, last = returns[index]
        if first >= end:
            break
        if first >= position:  # else it lies inside one that is already cut
            position = -last
            borders += first, position
    return (*borders, end)
