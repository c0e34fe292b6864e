"""Finds the definitions of files in the languages that search alone knows (languages.SEARCHED), for chunks.

Each language has one query. A pattern captures the definition, as @function or @class, and its @name.
"""

import re
import warnings
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from codesage.languages import grammar_of
from codesage.syntax.tree import screen

if TYPE_CHECKING:
    import tree_sitter


class Outlined(NamedTuple):
    """A definition and its lines, from 1."""

    kind: str  # "function" or "class"
    name: str  # with the names of the classes around it: "Stack.push"
    first: int  # of the comments and attributes directly above
    start: int
    last: int


def _named(functions: str, classes: str = "") -> str:
    """Patterns for kinds of nodes that have a field "name"."""
    kinds = [(kind, "function") for kind in functions.split()] + [(kind, "class") for kind in classes.split()]
    return " ".join(f"({kind} name: (_) @name) @{capture}" for kind, capture in kinds)


_DECLARED = "(function_declarator declarator: (_) @name)"
_QUERIES = {
    "cpp": f"""
        (function_definition declarator: [{_DECLARED} (pointer_declarator declarator: {_DECLARED})
         (pointer_declarator declarator: (pointer_declarator declarator: {_DECLARED}))
         (reference_declarator {_DECLARED})]) @function
        (class_specifier name: (_) @name body: (_)) @class (struct_specifier name: (_) @name body: (_)) @class
        (union_specifier name: (_) @name body: (_)) @class (enum_specifier name: (_) @name body: (_)) @class""",
    "elixir": """
        (call target: (identifier) @_def (arguments [(call target: (identifier) @name) (identifier) @name
          (binary_operator left: (call target: (identifier) @name))])
         (#any-of? @_def "def" "defp" "defmacro" "defmacrop" "defguard")) @function
        (call target: (identifier) @_def (arguments . (alias) @name)
         (#any-of? @_def "defmodule" "defprotocol" "defimpl")) @class""",
    "julia": """
        (function_definition (signature [(call_expression . (_) @name) (_ . (call_expression . (_) @name))
          (_ . (_ . (call_expression . (_) @name)))])) @function
        (macro_definition (signature (call_expression . (_) @name))) @function
        (assignment . (call_expression . (_) @name)) @function
        (struct_definition
          (type_head [(identifier) @name (_ . (identifier) @name) (_ . (_ . (identifier) @name))])) @class""",
    "kotlin": _named("function_declaration", "class_declaration object_declaration"),
    "lua": _named("function_declaration")
    + "(assignment_statement (variable_list . name: (_) @name) (expression_list . value: (function_definition))) @function",
    "objc": f"""
        (method_definition (method_type) . (identifier) @name) @function
        (function_definition declarator: [{_DECLARED} (pointer_declarator declarator: {_DECLARED})]) @function
        (class_interface . (identifier) @name) @class (class_implementation . (identifier) @name) @class
        (protocol_declaration (identifier) @name) @class""",
    "rust": _named("function_item macro_definition", "struct_item enum_item union_item trait_item")
    + "(impl_item type: (_) @name) @class",
    "scala": _named("function_definition", "class_definition object_definition trait_definition enum_definition"),
    "shell": _named("function_definition"),
    "swift": _named("", "class_declaration protocol_declaration")
    + '(function_declaration name: (simple_identifier) @name) @function (init_declaration "init" @name) @function',
    "zig": _named("function_declaration")
    + """(test_declaration (string) @name) @function
        (variable_declaration (identifier) @name [(struct_declaration) (union_declaration) (enum_declaration)]) @class""",
}
_AROUND = frozenset({"template_declaration", "implementation_definition", "variable_declaration"})  # begin with a definition
_ABOVE = (
    "comment",
    "attribute",
    "annotation",
    "unary_operator",
    "string_literal",
)  # parts of types: documentation and the like
_RESERVED = frozenset({"if", "else", "for", "while", "switch", "catch", "return"})  # what looks like a function among errors
_TYPE_ARGUMENTS = re.compile(r"<[^<>]*(?:<[^<>]*>[^<>]*)*>")
_SEPARATOR = re.compile(r"::|(?<=\w):(?=\w)")


def outline(text: str, language: str) -> list[Outlined]:
    """The functions and classes of `text`, an outer one before those in it.

    Nothing if the grammar is not installed, or is of a version that its query does not fit. Raises ParseRefused like
    syntax.parse, and KeyError for a language without a query.
    """
    loaded = _loaded(language)
    if loaded is None:
        return []
    import tree_sitter

    source = text.encode("utf-8", "replace")
    screen(source)
    parser, query = loaded
    found = []
    for _, captures in tree_sitter.QueryCursor(query).matches(parser.parse(source).root_node):
        kind = "class" if "class" in captures else "function"
        node, name = captures[kind][0], _name(source, captures["name"][0])
        if name not in _RESERVED:
            found.append((node.start_byte, -node.end_byte, kind, name, node))
    result: list[Outlined] = []
    around: list[tuple[int, str]] = []  # (end, qualified name) of the classes around
    for start, end, kind, name, node in sorted(found, key=lambda one: one[:2]):
        while around and around[-1][0] <= start:
            around.pop()
        qualified = f"{around[-1][1]}.{name}" if around else name
        if kind == "class":
            around.append((-end, qualified))
        outer = _outer(node)
        result.append(Outlined(kind, qualified, _first_row(outer) + 1, node.start_point.row + 1, _last_row(outer) + 1))
    return result


def _name(source: bytes, node: "tree_sitter.Node") -> str:
    """The text of a name with dots between its parts and without type arguments: "Foo.get" of `Foo<T>::get`."""
    text = source[node.start_byte : node.end_byte].decode("utf-8", "replace").strip("\"'")
    text = text if "operator" in text else _TYPE_ARGUMENTS.sub("", text)
    return _SEPARATOR.sub(".", " ".join(text.split()))


def _outer(node: "tree_sitter.Node") -> "tree_sitter.Node":
    while (parent := node.parent) is not None and parent.type in _AROUND:
        node = parent
    return node


def _first_row(node: "tree_sitter.Node") -> int:
    """The row of the first comment or attribute that stands directly above a node, or of the node itself."""
    row = node.start_point.row
    before = node.prev_named_sibling
    while before is not None and any(part in before.type for part in _ABOVE) and _last_row(before) in (row - 1, row):
        above = before.prev_named_sibling
        if above is not None and _last_row(above) == before.start_point.row:
            break  # it stands behind code on its line
        row, before = before.start_point.row, above
    return row


def _last_row(node: "tree_sitter.Node") -> int:
    return node.end_point.row - (node.end_point.column == 0 and node.end_point.row > node.start_point.row)


@cache
def _loaded(language: str) -> "tuple[tree_sitter.Parser, tree_sitter.Query] | None":
    import tree_sitter

    query = _QUERIES[language]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from grammars that were built for an older tree-sitter
            grammar = grammar_of(language)
        return tree_sitter.Parser(grammar), tree_sitter.Query(grammar, query)
    except (ImportError, AttributeError, ValueError, TypeError, tree_sitter.QueryError):
        return None
