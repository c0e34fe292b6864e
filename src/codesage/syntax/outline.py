"""Finds the definitions of files in the languages that search alone knows (languages.SEARCHED), for chunks.

Each language has one query. A pattern captures a definition, as @function or @class, and its @name, or what may stand @above
one: comments and attributes. Everything takes time linear in the text: nodes are never asked for their parents or siblings,
which takes time in proportion to the number of siblings.
"""

import re
import warnings
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from codesage.languages import grammar_of
from codesage.syntax.tree import screen, tree_of

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
_CPP_FUNCTION = f"""(function_definition declarator: [{_DECLARED} (pointer_declarator declarator: {_DECLARED})
    (pointer_declarator declarator: (pointer_declarator declarator: {_DECLARED})) (reference_declarator {_DECLARED})])"""
_CPP_CLASS = """[(class_specifier name: (_) @name body: (_)) (struct_specifier name: (_) @name body: (_))
    (union_specifier name: (_) @name body: (_)) (enum_specifier name: (_) @name body: (_))]"""
_QUERIES = {
    "cpp": f"""{_CPP_FUNCTION} @function {_CPP_CLASS} @class
        (template_declaration {_CPP_FUNCTION}) @function (template_declaration {_CPP_CLASS}) @class (comment) @above""",
    "elixir": """
        (call target: (identifier) @_def (arguments [(call target: (identifier) @name) (identifier) @name
          (binary_operator left: (call target: (identifier) @name))])
         (#any-of? @_def "def" "defp" "defmacro" "defmacrop" "defguard")) @function
        (call target: (identifier) @_def (arguments . (alias) @name)
         (#any-of? @_def "defmodule" "defprotocol" "defimpl")) @class
        [(comment) (unary_operator)] @above""",
    "julia": """
        (function_definition (signature [(call_expression . (_) @name) (_ . (call_expression . (_) @name))
          (_ . (_ . (call_expression . (_) @name)))])) @function
        (macro_definition (signature (call_expression . (_) @name))) @function
        (assignment . (call_expression . (_) @name)) @function
        (struct_definition
          (type_head [(identifier) @name (_ . (identifier) @name) (_ . (_ . (identifier) @name))])) @class
        [(line_comment) (block_comment) (string_literal)] @above""",
    "kotlin": _named("function_declaration", "class_declaration object_declaration")
    + "[(line_comment) (block_comment)] @above",
    "lua": _named("function_declaration")
    + """(assignment_statement (variable_list . name: (_) @name) (expression_list . value: (function_definition))) @function
        (comment) @above""",
    "objc": f"""
        (method_definition (method_type) . (identifier) @name) @function
        (function_definition declarator: [{_DECLARED} (pointer_declarator declarator: {_DECLARED})]) @function
        (class_interface . (identifier) @name) @class (class_implementation . (identifier) @name) @class
        (protocol_declaration (identifier) @name) @class (comment) @above""",
    "rust": _named("function_item macro_definition", "struct_item enum_item union_item trait_item")
    + "(impl_item type: (_) @name) @class [(line_comment) (block_comment) (attribute_item)] @above",
    "scala": _named("function_definition", "class_definition object_definition trait_definition enum_definition")
    + "[(comment) (block_comment)] @above",
    "shell": _named("function_definition") + "(comment) @above",
    "swift": _named("", "class_declaration protocol_declaration")
    + """(function_declaration name: (simple_identifier) @name) @function (init_declaration "init" @name) @function
        [(comment) (multiline_comment)] @above""",
    "zig": _named("function_declaration")
    + """(test_declaration (string) @name) @function
        (variable_declaration (identifier) @name [(struct_declaration) (union_declaration) (enum_declaration)]) @class
        (comment) @above""",
}
_RESERVED = frozenset({"if", "else", "for", "while", "switch", "catch", "return"})  # what looks like a function among errors
_LONGEST_NAME = 200
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
    defined: dict[int, tuple[int, int, str, str, tree_sitter.Node]] = {}  # by the place of the name
    above: dict[int, int] = {}  # last row -> first row of comments and attributes
    for _, captures in tree_sitter.QueryCursor(query).matches(tree_of(source, parser, timed=True).root_node):
        if "above" in captures:
            node = captures["above"][0]
            if not source[source.rfind(b"\n", 0, node.start_byte) + 1 : node.start_byte].strip():  # not behind code
                above[_last_row(node)] = node.start_point.row
            continue
        kind = "class" if "class" in captures else "function"
        node, name = captures[kind][0], captures["name"][0]
        if (written := _name(source, name)) not in _RESERVED:
            one = (node.start_byte, -node.end_byte, kind, written, node)
            defined[name.start_byte] = min(one, defined.get(name.start_byte, one), key=itemgetter(0, 1))  # with its template
    result: list[Outlined] = []
    around: list[tuple[int, str]] = []  # (end, qualified name) of the classes around
    for start, end, kind, name, node in sorted(defined.values(), key=itemgetter(0, 1)):
        while around and around[-1][0] <= start:
            around.pop()
        qualified = f"{around[-1][1]}.{name}" if around else name
        if kind == "class":
            around.append((-end, qualified))
        first = node.start_point.row
        while first - 1 in above:
            first = above[first - 1]
        result.append(Outlined(kind, qualified, first + 1, node.start_point.row + 1, _last_row(node) + 1))
    return result


def _name(source: bytes, node: "tree_sitter.Node") -> str:
    """The text of a name with dots between its parts and without type arguments: "Foo.get" of `Foo<T>::get`."""
    text = source[node.start_byte : node.end_byte].decode("utf-8", "replace").strip("\"'")
    text = text if "operator" in text else _TYPE_ARGUMENTS.sub("", text)
    return _SEPARATOR.sub(".", " ".join(text.split()))[:_LONGEST_NAME]


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
