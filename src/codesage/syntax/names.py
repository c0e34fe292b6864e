"""The name of a definition as its users write it; "" if it has none.

String and number keys are names; computed keys are not, except well-known symbols (`[Symbol.iterator]`). Operators in C# have
no name, so their source is used: "operator +", "operator int", and "this" for an indexer.
"""

import re

from tree_sitter import Node

from codesage.syntax.tree import SourceTree

_C_IDENTIFIERS = {"identifier", "field_identifier", "type_identifier"}
_C_BRACKETS = {"parenthesized_declarator", "attributed_declarator"}
_ECMA_FIELDS = {"assignment_expression": "left", "pair": "key", "field_definition": "property"}  # elsewhere "name"
_PATTERNS = {"object_pattern", "array_pattern"}
_LITERAL = re.compile(r"""("|')(?:(?!\1|#\{|[\\\n]).)+\1""")
_IN_BRACKETS = re.compile(rb"\s*\(\s*([A-Za-z_]\w*)\s*\)\s*\(")

_TWO_BRACKETS = re.compile(rb"\s*\(\s*\(")

_C_WORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int long register restrict
return short signed sizeof static struct switch typedef union unsigned void volatile while
"""
_ECMA_WORDS = """
await break case catch class const continue debugger default delete do else enum export extends finally for function if
import in instanceof new return super switch this throw try typeof var void while with yield
"""
_WORDS = {
    "python": """
False None True and as assert async await break class continue def del elif else except finally for from global if import in
is lambda nonlocal not or pass raise return try while with yield
""",
    "java": """
abstract assert boolean break byte case catch char class const continue default do double else enum extends final finally
float for goto if implements import instanceof int interface long native new package private protected public return short
static super switch synchronized this throw throws transient try void volatile while
""",
    "javascript": _ECMA_WORDS,
    "typescript": _ECMA_WORDS,
    "csharp": """
abstract as base bool break byte case catch char checked class const continue decimal default delegate do double else enum
event explicit extern finally fixed float for foreach goto if implicit in int interface internal is lock long namespace new
object operator out override params private protected public readonly ref return sbyte sealed short sizeof stackalloc static
string struct switch throw try typeof uint ulong unchecked unsafe ushort using virtual void volatile while
""",
    "c": _C_WORDS,
    "ruby": "",  # names follow `def` or `function`, so a method's name can be a keyword
    "php": "",
    "go": """
break case chan const continue default defer else fallthrough for func go goto if import interface map package range return
select struct switch type var
""",
}
# Words that cannot be the name of a definition, without those that are only reserved in some places ("match", "get").
RESERVED = {language: frozenset(words.split()) for language, words in _WORDS.items()}


def name_of(tree: SourceTree, node: Node) -> str:
    """The name of the definition at `node`, in any language; "" if it has none."""
    namer = _NAMERS.get(tree.language)
    if namer is not None:
        return namer(tree, node)
    name = node.child_by_field_name("name")
    return tree.text(name) if name is not None else ""


def receiver_of(tree: SourceTree, node: Node) -> str:
    """The type that a Go method belongs to, without pointers and type parameters; "" for a function."""
    receiver = node.child_by_field_name("receiver") if node.type == "method_declaration" else None
    if receiver is None:
        return ""
    words = tree.text(receiver).partition("[")[0].translate(str.maketrans("()*", "   ")).split()
    return words[-1] if words else ""


def _ecma(tree: SourceTree, node: Node) -> str:
    name = node.child_by_field_name(_ECMA_FIELDS.get(node.type, "name"))
    if name is None:
        return ""
    kind = name.type
    if kind == "member_expression":
        name = name.child_by_field_name("property")
    elif kind == "subscript_expression":
        return _literal(tree.text(name.child_by_field_name("index")))
    elif kind == "string":
        return _literal(tree.text(name))
    elif kind == "computed_property_name":
        return _computed(tree.text(name)[1:-1].strip())
    text = tree.text(name) if name is not None and kind not in _PATTERNS else ""
    return _behind_accessor(tree, name) if text == "accessor" and name is not None and node.has_error else text


def _behind_accessor(tree: SourceTree, word: Node) -> str:
    """The name behind the word `accessor`, which the grammar takes for the name: `accessor size = () => 1`."""
    skipped = word.next_sibling
    return tree.text(skipped if skipped is not None and skipped.type == "ERROR" else word)


def _literal(text: str) -> str:
    """The text of a string literal; "" for other texts and for strings with escapes, interpolation or line breaks."""
    return text[1:-1] if _LITERAL.fullmatch(text) else ""


def _computed(key: str) -> str:
    return key if re.fullmatch(r"Symbol\.\w+", key) else _literal(key)


def _c(tree: SourceTree, node: Node) -> str:
    if node.type != "function_definition":
        return _c_type(tree, node)
    declarator, called = node.child_by_field_name("declarator"), None
    while declarator is not None and declarator.type not in _C_IDENTIFIERS:
        if declarator.type == "function_declarator":
            called = declarator
        declarator = _inner(declarator)
    if declarator is None or called is None:  # `MACRO(name) {` does not declare a function
        return ""
    name = _behind_macro(tree, declarator) if node.has_error else tree.text(declarator)
    # The name is in brackets in `API void (name)(int)`, where the parser takes the type for the name, and `void FN(name)(int)`.
    match = _IN_BRACKETS.match(tree.source, declarator.end_byte)
    inner = match.group(1).decode() if match else name
    return name if inner in RESERVED["c"] else inner


def _behind_macro(tree: SourceTree, declarator: Node) -> str:
    """The last word before the parameters. In `BOOL API name (int a)` the grammar takes `API` for the name.

    Before parameters in two brackets, the last word is a macro: `name ARGS ((int a))`.
    """
    name, skipped = tree.text(declarator), declarator.next_sibling
    if skipped is None or skipped.type != "ERROR" or skipped.named_child_count != 1:
        return name
    last = tree.text(skipped)
    return name if not last.isidentifier() or _TWO_BRACKETS.match(tree.source, skipped.end_byte) else last


def _c_type(tree: SourceTree, node: Node) -> str:
    """The tag of a struct, union or enum, or else its name in a typedef; plain names come before pointers and arrays."""
    name = node.child_by_field_name("name")
    if name is not None:
        return tree.text(name)
    parent = tree.parent(node)
    if parent is None or parent.type != "type_definition":
        return ""
    declarators = parent.children_by_field_name("declarator")
    name = next((declarator for declarator in declarators if declarator.type == "type_identifier"), None)
    name = name or next(iter(declarators), None)
    while name is not None and name.type not in _C_IDENTIFIERS:
        name = _inner(name)
    return tree.text(name) if name is not None else ""


def _inner(declarator: Node) -> Node | None:
    inner = declarator.child_by_field_name("declarator")
    return declarator.named_child(0) if inner is None and declarator.type in _C_BRACKETS else inner


def _csharp(tree: SourceTree, node: Node) -> str:
    kind = node.type
    if kind in ("operator_declaration", "conversion_operator_declaration"):
        parameters = node.child_by_field_name("parameters")
        header = tree.source[node.start_byte : (parameters or node).start_byte].decode("utf-8", "replace")
        return "operator " + " ".join(header.rpartition("operator")[2].split())
    if kind == "indexer_declaration":
        return "this"
    name = node.child_by_field_name("name")
    return ("~" if kind == "destructor_declaration" else "") + (tree.text(name) if name is not None else "")


def _php(tree: SourceTree, node: Node) -> str:
    if node.type == "property_declaration":
        node = next((child for child in node.named_children if child.type == "property_element"), node)
    name = node.child_by_field_name("name")
    return tree.text(name).removeprefix("$") if name is not None else ""


def _ruby(tree: SourceTree, node: Node) -> str:
    if node.type == "call":  # define_method(:name) { }
        arguments = node.child_by_field_name("arguments")
        name = arguments.named_child(0) if arguments is not None else None
        text = tree.text(name)
        return _literal(text) if name is not None and name.type == "string" else text[1:]
    name = node.child_by_field_name("left" if node.type == "assignment" else "name")
    return tree.text(name) if name is not None else ""


_NAMERS = {"javascript": _ecma, "typescript": _ecma, "c": _c, "csharp": _csharp, "php": _php, "ruby": _ruby}
