"""Reads tests: their names in plain language, the functions that they call, and the module or class that they are for.

A test's name says what some function does ("returns empty list when missing"). tested_of() reads one document. When all
files of the package are parsed, matching.py finds the function.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from tree_sitter import Node

from codesage.corpus.pairs.markup import clean
from codesage.corpus.pairs.rules import refusal
from codesage.records import Document, Function, record
from codesage.syntax import SourceTree, functions
from codesage.words import split_names

_LEAST_WORDS = 3
_MOST_CHARACTERS = 8_000  # of a test's body; the rest is not searched for calls
_MARKED = {
    "java": re.compile(r"@(?:Test|ParameterizedTest|RepeatedTest)\b"),
    "csharp": re.compile(r"\[(?:\w+\.)*(?:Test|Fact|Theory|TestMethod|TestCase|DataTestMethod)\b"),
    "php": re.compile(r"#\[(?:\w+\\)*Test\b"),
}
_NAMED = re.compile(r"(?:test|Test)(?=[_A-Z\d])_*|(?:it|should)_(?=[a-z])")
_TITLED = {  # calls whose first argument is the name of a test, or of a group of tests
    "javascript": re.compile(rb"\b(it|test|specify|describe|context|suite)(?:\.\w+)?\(\s{0,80}([\"'`])"),
    "ruby": re.compile(rb"\b(it|specify|test|should|scenario|example|describe|context|feature)[ (]\s{0,80}([\"'])"),
}
_TITLED["typescript"] = _TITLED["javascript"]
_GROUPS = {b"describe", b"context", b"suite", b"feature"}
# Both begin with a literal, which re finds ten times faster than a name. So the name before a bracket is read backwards.
_CALLED = re.compile(r"\([ \t]{0,2}(\w*+(?<=[A-Za-z_]))")
_METHOD = re.compile(r"\.(?<=[.\w)]\.)([a-z_]\w*+[?!]?)\.?")
_DESCRIBED = re.compile(rb"\b(?:describe|context)[ (]\s{0,20}(?:\w+::)*([A-Z]\w*)")
_TEST_AFFIXES = frozenset(("test", "tests", "spec", "specs", "testcase", "case", "cases", "it", "unit"))
_ESCAPE = re.compile(r"\\(.)")
_STRINGS = {  # the rest of a string after its opening quote; escaped quotes do not end it
    quote: re.compile(rb"((?:[^\\\n" + quote + rb"]|\\.)*+)" + quote) for quote in (b'"', b"'", b"`")
}


@record
class Tested:
    """One test: its name in words, and what helps to find the function that it tests."""

    text: str
    language: str
    path: str
    package: str
    version: str
    licence: str
    calls: tuple[str, ...]  # names given by its groups, then names called in its body; each once
    subjects: tuple[str, ...]  # what its file, class and groups are named after, as returned by plain()


@lru_cache(maxsize=4096)  # many definitions have the same class and file
def plain(name: str) -> str:
    """A name without case, marks and words such as "test": "FooBarTest" and "test_foo_bar" give "foobar"."""
    return "".join([word for word in split_names(name) if word not in _TEST_AFFIXES])


@lru_cache(maxsize=4096)
def module_of(path: str) -> str:
    """The module of a file, as returned by plain(): its stem, or its folder for "index.ts" and "__init__.py"."""
    *folders, name = path.split("/")
    stem = name.partition(".")[0]
    return plain(folders[-1] if folders and stem in ("index", "__init__", "main") else stem)


def tested_of(tree: SourceTree, document: Document, *, definitions: Sequence[Function] | None = None) -> Iterator[Tested]:
    """Yields the tests of a document whose names say something in English.

    Tests are functions with a certain name or annotation (unittest, pytest, JUnit, NUnit, xUnit, PHPUnit, minitest, Go,
    check). In JavaScript, TypeScript and Ruby they are also calls with a string (Jest, Mocha, RSpec, Rails); names of groups
    are put before the string. `definitions` are the document's functions and classes, if the caller already has them.
    """
    definitions = functions(tree) if definitions is None else definitions
    module = module_of(document.path)
    for function in definitions:
        if function.kind == "function" and (text := _name_in_words(function)):
            yield _tested(text, function.bare_body, document, subjects=(module, plain(function.parent)))
    if pattern := _TITLED.get(tree.language):
        yield from _titled_tests(tree, document, pattern)


def _name_in_words(function: Function) -> str:
    """The name of a test function as words, or "" if it is not a test or says too little."""
    name, marked = function.name, _MARKED.get(function.language)
    match = _NAMED.match(name)
    if not match and not (marked and marked.search(function.signature)):
        return ""
    words = split_names(name[match.end() :] if match and len(name) > match.end() else name)
    while words and (words[-1].isdigit() or words[-1] in ("test", "tests")):
        words.pop()
    text = " ".join(words)
    return text if len(words) >= _LEAST_WORDS and not refusal(text) else ""


def _titled_tests(tree: SourceTree, document: Document, pattern: re.Pattern) -> Iterator[Tested]:
    source = tree.source
    named = {module_of(document.path), *(plain(match.group(1).decode()) for match in _DESCRIBED.finditer(source))}
    groups: list[tuple[int, str]] = []  # (end, name) of the enclosing groups
    for match in pattern.finditer(source):
        start = match.start(1)
        title = _string(source, match.end(), match.group(2))
        node = _call_at(tree, start) if title else None
        if node is None:
            continue
        while groups and groups[-1][0] <= start:
            groups.pop()
        if match.group(1) in _GROUPS:
            groups.append((node.end_byte, title))
            continue
        body = _callback(tree, node)
        text = clean(title)
        if groups and len(text.split()) < 8 and " " in groups[-1][1]:
            text = clean(f"{groups[-1][1]} {title}")
        if body and len(title.split()) >= _LEAST_WORDS and not refusal(text):
            around = tuple(name for _, name in groups)
            yield _tested(text, body, document, subjects=(*named, *map(_subject, around)), groups=around)


def _subject(group: str) -> str:
    """The class or module that a group of tests is named after: the last part of its first word."""
    return plain(re.split(r"[.:#]", group.partition(" ")[0].rstrip(".:#()"))[-1])


def _string(source: bytes, start: int, quote: bytes) -> str:
    """The text of the string at byte `start`, or "" if it spans several lines or has interpolation."""
    match = _STRINGS[quote].match(source, start, start + 300)
    text = match.group(1).decode("utf-8", "replace") if match else ""
    return "" if "\n" in text or "${" in text or "#{" in text else _ESCAPE.sub(r"\1", text)


def _call_at(tree: SourceTree, start: int) -> Node | None:
    """The call expression that starts at byte `start`, or None."""
    node = tree.at(start)
    for _ in range(4):
        if node is None or node.start_byte != start:
            return None
        if node.type in ("call_expression", "call", "method_call"):
            return node
        node = tree.parent(node)
    return None


def _callback(tree: SourceTree, call: Node) -> str:
    """The body, without braces, of the function or block that is passed to a test's call; or ""."""
    block = call.child_by_field_name("block")
    arguments = call.child_by_field_name("arguments")
    if block is None and arguments is not None:
        last = next((child for child in reversed(arguments.named_children) if "function" in child.type), None)
        block = last.child_by_field_name("body") if last is not None else None
    if block is None:
        return ""
    inner = block.child_by_field_name("body") or block
    text = tree.text(inner)
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    column = inner.start_point.column if not text.startswith("\n") else 0
    return _dedented(" " * column + text)


def _dedented(text: str) -> str:
    lines = [line for line in map(str.rstrip, text.expandtabs(4).split("\n")) if line]
    margin = min([len(line) - len(line.lstrip(" ")) for line in lines], default=0)
    return "\n".join([line[margin:] for line in lines])


def _tested(text: str, body: str, document: Document, *, subjects: Iterable[str], groups: Iterable[str] = ()) -> Tested:
    """`groups` are the names of the groups; in RSpec and Jest they may be a method's name ("#parse", ".call")."""
    named = [group.lstrip("#.:").partition("(")[0] for group in groups]
    calls = [group for group in named if group.isidentifier()]
    searched = body[:_MOST_CHARACTERS]
    calls += "\n".join(_CALLED.findall(searched[::-1]))[::-1].split() + _METHOD.findall(searched)
    return Tested(
        text=text,
        language=document.language,
        path=document.path,
        package=document.package,
        version=document.version,
        licence=document.licence,
        calls=tuple(dict.fromkeys(calls)),
        subjects=tuple(sorted({*subjects} - {""})),
    )
