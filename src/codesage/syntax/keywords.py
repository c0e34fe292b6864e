"""Finds definitions and return statements by their keywords, in languages where each of them has one.

A query visits every node of a tree. Here the bytes are searched for keywords, and the tree is asked only there. A keyword in
a string, a comment or a longer word is inside another node, so the type of the node that holds it tells it apart.

Functions in C and Java have no keyword. Their bodies begin with a brace, and so do those of classes. The innermost node around
the brace and the last byte before it, white space left out, is what the body belongs to.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from tree_sitter import Node

from codesage.syntax.tree import SourceTree

# Node types with a keyword of their own, by language and keyword, each with the name of its capture in a query.
_OWNERS = {
    "python": {
        b"def": {"function_definition": "function"},
        b"class": {"class_definition": "class"},
        b"return": {"return_statement": "return"},
        b"@": {"decorator": "decorator"},
    },
    "ruby": {
        b"def": {"method": "function", "singleton_method": "function"},
        b"class": {"class": "class"},
        b"module": {"module": "class"},
        b"return": {"return": "return"},
    },
    "go": {
        b"func": {"function_declaration": "function", "method_declaration": "function", "func_literal": "value"},
        b"struct": {"struct_type": "type"},
        b"interface": {"interface_type": "type"},
        b"return": {"return_statement": "return"},
    },
    "c": {
        b"{": {
            "function_definition": "function",
            "struct_specifier": "class",
            "union_specifier": "class",
            "enum_specifier": "class",
        },
        b"return": {"return_statement": "return"},
    },
    "java": {
        b"{": {
            "method_declaration": "function",
            "constructor_declaration": "function",
            "compact_constructor_declaration": "function",
            "class_declaration": "class",
            "interface_declaration": "class",
            "enum_declaration": "class",
            "record_declaration": "class",
            "annotation_type_declaration": "class",
        },
        b"return": {"return_statement": "return"},
    },
    "php": {
        b"function": {"function_definition": "function", "method_declaration": "function"},
        b"class": {"class_declaration": "class"},
        b"interface": {"interface_declaration": "class"},
        b"trait": {"trait_declaration": "class"},
        b"enum": {"enum_declaration": "class"},
        b"return": {"return_statement": "return"},
    },
}
_HOOKS = [  # of properties in PHP. They have no keyword; their names are at the start of a line or behind one of these marks
    re.compile(name + rb"(?<=[\s{;}&\]/]" + name + rb")(?<!function " + name + rb")[\s/]*[={(]") for name in (b"get", b"set")
]
# Each question goes down from the root, n steps if the tree is n levels deep. With these limits that takes less than a second.
_MOST_BYTES = 100_000  # of a text
_LEAST_BYTES = 50  # of a text for one keyword, beside the first 50 keywords; code has one in 200 to 500
_BLANK = b" \t\r\n\f\v"
_MODIFIERS = ("if_modifier", "unless_modifier")


def captures_by_keywords(tree: SourceTree, errors: Iterable[Node] = ()) -> dict[str, list[Node]] | None:
    """What the query of definitions.QUERIES captures, in no particular order. `errors` are those of the tree.

    Nodes without a body are left out if their keyword is a brace. None if only the query can find it.
    """
    keywords, source = _OWNERS.get(tree.language), tree.source
    if keywords is None or len(source) > _MOST_BYTES or _lacks_keyword(keywords, errors):
        return None
    if tree.language == "php":
        source = source.lower()
        if any(hook.search(source) for hook in _HOOKS):
            return None
    places = [(place, owners) for keyword, owners in keywords.items() for place in _places(source, keyword)]
    if len(places) > 50 + len(source) // _LEAST_BYTES:
        return None
    found: dict[str, dict[int, Node]] = defaultdict(dict)
    holder = tree.tree.root_node.named_descendant_for_byte_range
    for place, owners in places:
        node = holder(*place)
        if node is not None and (kind := owners.get(node.type)):
            found[kind][node.id] = node
    captures = {kind: list(nodes.values()) for kind, nodes in found.items()}
    if tree.language == "python":
        captures["wrapper"] = _parents(captures.pop("decorator", []), ("decorated_definition",))
    elif tree.language == "ruby":
        captures["return"] = captures.get("return", []) + _modified(captures.get("return", []))
    elif tree.language == "go":
        captures["class"] = _parents(captures.pop("type", []), ("type_spec", "type_alias"))
        captures["repeated"] = _parents(_parents(captures.pop("value", []), ("expression_list",)), ("var_spec",))
    return captures


def _lacks_keyword(keywords: dict, errors: Iterable[Node]) -> bool:
    """Whether the parser inserted a keyword, which is then not in the text."""
    return any(node.is_missing and node.type.encode() in keywords for node in errors)


def _places(source: bytes, keyword: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each place of a keyword, not as the beginning of a longer word. A brace has the byte before it."""
    end, mark, brace = 0, not keyword.isalpha(), keyword == b"{"
    while (start := source.find(keyword, end)) >= 0:
        end = start + len(keyword)
        if brace:
            start -= 1
            while start > 0 and source[start] in _BLANK:
                start -= 1
            start = max(start, 0)
        if mark or not source[end : end + 1].isalpha():
            yield start, end


def _parents(nodes: list[Node], types: tuple[str, ...]) -> list[Node]:
    """The parents of the nodes that have one of these types."""
    return [parent for node in nodes if (parent := node.parent) is not None and parent.type in types]


def _modified(returns: list[Node]) -> list[Node]:
    """Ruby's return statements with a condition behind them."""
    return [parent for node in returns for parent in _parents([node], _MODIFIERS) if parent.child_by_field_name("body") == node]
