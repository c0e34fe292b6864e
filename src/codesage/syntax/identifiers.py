"""The names a file defines, at every place they stand: what deobfuscation hides (paper section 3.1).

In: a parsed source text. Out: the occurrences of the names it defines. One query a language (name_queries) finds the
places where a name can stand, the definitions, and the names that an import binds. A place is hidden when its name is
defined in the file and not bound by an import: imported names, aliases included, are somebody else's and stay, like
builtins, `self` and its kin, dunder names, keywords, strings, comments and attributes or keyword arguments the file
does not define. Import statements and package clauses stay as they are. Marks such as `$`, `@` and `:` stay; the name
behind them is hidden.
"""

import re

import tree_sitter

from codesage.records import Identifier
from codesage.syntax.name_queries import QUERIES
from codesage.syntax.tree import SourceTree

_SIGILS = "$@:#"
# The receiver of a method, where it is a name and no keyword.
_RECEIVERS = {"python": {"self", "cls"}, "php": {"this"}}
# Names of methods that the language calls itself.
_SPECIAL = re.compile(r"__\w+__")
_SPECIAL_OF = {
    "javascript": re.compile(r"constructor|__\w+__"),
    "typescript": re.compile(r"constructor|__\w+__"),
    "ruby": re.compile(r"initialize|__\w+__"),
    "php": re.compile(
        r"__(?:construct|destruct|get|set|isset|unset|call|callStatic|toString|invoke|clone|sleep|wakeup|serialize|unserialize"
        r"|set_state|debugInfo)|__\w+__"
    ),
}
# Names that the language gives a meaning wherever they stand.
_KEPT = {
    "javascript": {"arguments", "prototype", "exports"},
    "typescript": {"arguments", "prototype", "exports"},
    "php": {"GLOBALS", "_SERVER", "_GET", "_POST", "_FILES", "_COOKIE", "_SESSION", "_REQUEST", "_ENV"},
}


def identifiers(tree: SourceTree, *, hide_self: bool = False, hide_special: bool = False) -> list[Identifier]:
    """Every occurrence, in source order and never overlapping, of the names the file of `tree` defines.

    `hide_self` also hides `self`, `cls` and PHP's `$this`; `hide_special` the methods that a language calls by
    itself (`__init__`, `constructor`, `initialize`), where the file defines them. The paper's figure 8 hides both.
    """
    captures = tree.found(QUERIES[tree.language])
    source = tree.source
    hidden = _defined(source, captures) - _imported(tree, captures) - _KEPT.get(tree.language, set()) - {"", "_"}
    if not hide_self:
        hidden -= _RECEIVERS.get(tree.language, set())
    if not hide_special:
        special = _SPECIAL_OF.get(tree.language, _SPECIAL)
        hidden = {name for name in hidden if not special.fullmatch(name)}
    spans = [_name(source, node.start_byte, node.end_byte) for node in captures.get("leaf", [])]
    for node in captures.get("raw", []):  # the body of a C macro is text to the parser
        spans += _names_in_macro(source, node.start_byte, node.end_byte)
    return _occurrences(spans, hidden, _outside(source, captures, hidden))


def _defined(source: bytes, captures: dict[str, list[tree_sitter.Node]]) -> set[str]:
    used = {node.start_byte for node in captures.get("use", [])}
    nodes = [node for node in captures.get("candidate", []) if node.start_byte not in used] + captures.get("name", [])
    names = {_name(source, node.start_byte, node.end_byte)[0] for node in nodes}
    for node in captures.get("dotted", []):
        names.update(source[node.start_byte : node.end_byte].decode("utf-8", "replace").split("."))
    return names


def _imported(tree: SourceTree, captures: dict[str, list[tree_sitter.Node]]) -> set[str]:
    names = {_name(tree.source, node.start_byte, node.end_byte)[0] for node in captures.get("import", [])}
    return names | _go_packages(tree.source) if tree.language == "go" else names


def _outside(source: bytes, captures: dict[str, list[tree_sitter.Node]], hidden: set[str]) -> list[tuple[int, int]]:
    """Where nothing is hidden: imports and package clauses, and every place the path of a module is written out."""
    spans = [(node.start_byte, node.end_byte) for node in captures.get("outside", [])]
    paths = {source[node.start_byte : node.end_byte] for node in captures.get("path", [])}
    for path in paths:
        first, *others = path.split(b".")
        if hidden.isdisjoint(part.decode("utf-8", "replace") for part in others):
            continue
        tail = b"".join(b"(?:\\." + re.escape(part) for part in others[1:]) + b"\\b)?" * len(others[1:])
        written = re.compile(rb"(?<![\w.])" + re.escape(first) + rb"\." + re.escape(others[0]) + rb"\b" + tail)
        spans += [found.span() for found in written.finditer(source)]
    return spans


def _occurrences(spans: list[tuple[str, int]], hidden: set[str], outside: list[tuple[int, int]]) -> list[Identifier]:
    marks = sorted([(start, 1, len(name.encode()), name) for name, start in spans if name in hidden]
                   + [(start, 0, end - start, "") for start, end in outside])  # fmt: skip
    found, end = [], 0
    for start, is_name, length, name in marks:
        if is_name and start >= end:
            found.append(Identifier(name, start, start + length))
        end = max(end, start + length)
    return found


_MACRO_TOKEN = re.compile(rb'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|//.*|/\*.*?\*/|[A-Za-z_]\w*', re.DOTALL)


def _names_in_macro(source: bytes, start: int, end: int) -> list[tuple[str, int]]:
    tokens = _MACRO_TOKEN.finditer(source, start, end)
    return [(token.group().decode("utf-8", "replace"), token.start()) for token in tokens]


def _name(source: bytes, start: int, end: int) -> tuple[str, int]:
    text = source[start:end].decode("utf-8", "replace")
    name = text.lstrip(_SIGILS)
    return name, start + len(text) - len(name)  # sigils are one byte each


def _go_packages(source: bytes) -> set[str]:
    """Go names an imported package by the last part of its path."""
    block = re.search(rb"^import\s*(\([^)]*\)|[^\n]*)", source, re.MULTILINE)
    paths = re.findall(rb'"([^"\n]+)"', block.group(1)) if block else []
    return {path.rsplit(b"/", 1)[-1].decode("utf-8", "replace") for path in paths}
