"""Finds all occurrences of the names that a file defines. Deobfuscation hides them (paper section 3.1).

One query per language (name_queries) captures all occurrences of names, the definitions, and the names that imports bind. An
occurrence is hidden if the file defines its name and no import binds it. Imported names (also under an alias) belong to other
files and stay visible. So do builtins, `self` and similar names, dunder names, keywords, strings, comments, and attributes
and keyword arguments that the file does not define. Import statements and package clauses stay unchanged. Marks such as `$`,
`@` and `:` stay, and the name after them is hidden.
"""

import re

import tree_sitter

from codesage.records import Identifier
from codesage.syntax.name_queries import captures_of_names
from codesage.syntax.tree import SourceTree

_SIGILS = "$@:#"
# The receiver of a method, in languages where it is an ordinary name and not a keyword.
_RECEIVERS = {"python": {"self", "cls"}, "php": {"this"}}
# Names of methods that the language itself calls.
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
# Names with a fixed meaning in the language.
_KEPT = {
    "javascript": {"arguments", "prototype", "exports"},
    "typescript": {"arguments", "prototype", "exports"},
    "php": {"GLOBALS", "_SERVER", "_GET", "_POST", "_FILES", "_COOKIE", "_SESSION", "_REQUEST", "_ENV"},
}


def identifiers(tree: SourceTree, *, hide_self: bool = False, hide_special: bool = False) -> list[Identifier]:
    """All occurrences of the names that the file of `tree` defines, in source order and without overlaps.

    `hide_self` also hides `self`, `cls` and PHP's `$this`. `hide_special` also hides methods that the language itself calls
    (`__init__`, `constructor`, `initialize`), if the file defines them. The paper's figure 8 hides both.
    """
    captures = captures_of_names(tree)
    source = tree.source
    hidden = _defined(source, captures) - _imported(tree, captures) - _KEPT.get(tree.language, set()) - {"", "_"}
    if not hide_self:
        hidden -= _RECEIVERS.get(tree.language, set())
    if not hide_special:
        special = _SPECIAL_OF.get(tree.language, _SPECIAL)
        hidden = {name for name in hidden if not special.fullmatch(name)}
    spans = [_name(source, node.start_byte, node.end_byte) for node in captures.get("leaf", [])]
    for node in captures.get("raw", []):  # the parser leaves the body of a C macro as text
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
    """(start, end) of the places where nothing is hidden: imports, package clauses, and full module paths."""
    spans = [(node.start_byte, node.end_byte) for node in captures.get("outside", [])]
    paths = {source[node.start_byte : node.end_byte] for node in captures.get("path", [])}
    for path in paths:
        first, *others = path.split(b".")
        if hidden.isdisjoint(part.decode("utf-8", "replace") for part in others):
            continue
        tail = b"".join(b"(?:\\." + re.escape(part) for part in others[1:]) + b"\\b)?" * len(others[1:])
        written = re.compile(rb"(?<![\w.])" + re.escape(first) + rb"\." + re.escape(others[0]) + rb"\b" + tail)
        spans += [match.span() for match in written.finditer(source)]
    return spans


def _occurrences(spans: list[tuple[str, int]], hidden: set[str], outside: list[tuple[int, int]]) -> list[Identifier]:
    marks = sorted(
        [(start, 1, len(name.encode()), name) for name, start in spans if name in hidden]
        + [(start, 0, end - start, "") for start, end in outside]
    )
    occurrences, end = [], 0
    for start, is_name, length, name in marks:
        if is_name and start >= end:
            occurrences.append(Identifier(name, start, start + length))
        end = max(end, start + length)
    return occurrences


_MACRO_TOKEN = re.compile(rb'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|//.*|/\*.*?\*/|[A-Za-z_]\w*', re.DOTALL)


def _names_in_macro(source: bytes, start: int, end: int) -> list[tuple[str, int]]:
    tokens = _MACRO_TOKEN.finditer(source, start, end)
    return [(token.group().decode("utf-8", "replace"), token.start()) for token in tokens]


def _name(source: bytes, start: int, end: int) -> tuple[str, int]:
    text = source[start:end].decode("utf-8", "replace")
    name = text.lstrip(_SIGILS)
    return name, start + len(text) - len(name)  # sigils are one byte each


def _go_packages(source: bytes) -> set[str]:
    """The names of imported Go packages: the last parts of their paths."""
    block = re.search(rb"^import\s*(\([^)]*\)|[^\n]*)", source, re.MULTILINE)
    paths = re.findall(rb'"([^"\n]+)"', block.group(1)) if block else []
    return {path.rsplit(b"/", 1)[-1].decode("utf-8", "replace") for path in paths}
