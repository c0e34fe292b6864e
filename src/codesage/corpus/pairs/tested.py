"""Names of tests as plain language, and the code they test: pairs of kind "test".

A test's name says what some function does ("returns empty list when missing"). Which function is found over files:
tested_of() reads one document, match_tests() joins the tests of a package with its definitions. A call in the test
whose name is defined exactly once in the package and shares a word with the test's name is what is tested; the pair
is then (name of the test, that function). Where none is found, the code is the body of the test itself.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tree_sitter import Node

from codesage.corpus.pairs.lines import has_lines
from codesage.corpus.pairs.prose import clean
from codesage.corpus.pairs.rules import qualified, refusal
from codesage.records import Document, Function, Pair
from codesage.syntax import SourceTree, functions
from codesage.words import split_words

_LEAST_WORDS = 3
_MOST_CHARACTERS = 8_000  # of a test's body that are searched for calls
_MARKED = {
    "java": re.compile(r"@(?:Test|ParameterizedTest|RepeatedTest)\b"),
    "csharp": re.compile(r"\[(?:\w+\.)*(?:Test|Fact|Theory|TestMethod|TestCase|DataTestMethod)\b"),
    "php": re.compile(r"#\[(?:\w+\\)*Test\b"),
}
_NAMED = re.compile(r"(?:test|Test)(?=[_A-Z\d])_*|(?:it|should)_(?=[a-z])")
_SPOKEN = {  # calls whose first argument is the name of a test, or of a group of tests
    "javascript": re.compile(rb"\b(it|test|specify|describe|context|suite)(?:\.\w+)?\(\s{0,80}([\"'`])"),
    "ruby": re.compile(rb"\b(it|specify|test|should|scenario|example|describe|context|feature)[ (]\s{0,80}([\"'])"),
}
_SPOKEN["typescript"] = _SPOKEN["javascript"]
_GROUPS = {b"describe", b"context", b"suite", b"feature"}
# Both begin with one literal, which re finds ten times as fast as a name: so what is before a bracket is read backwards.
_CALLED = re.compile(r"\([ \t]{0,2}(\w*+(?<=[A-Za-z_]))")
_METHOD = re.compile(r"\.(?<=[.\w)]\.)([a-z_]\w*+[?!]?)\.?")
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Tested:
    """One test: its name in words, the names its body calls, and the body."""

    text: str
    code: str
    language: str
    name: str
    path: str
    start_line: int
    package: str
    version: str
    licence: str
    calls: tuple[str, ...]  # each once


def tested_of(tree: SourceTree, document: Document, *, found: Sequence[Function] | None = None) -> Iterator[Tested]:
    """The tests of a document whose names say something in English; `found` are its functions when known already.

    Methods by name or annotation (unittest, pytest, JUnit, NUnit, xUnit, PHPUnit, minitest, Go, check) and, in
    JavaScript, TypeScript and Ruby, calls that take a string (Jest, Mocha, RSpec, Rails), with their groups before it.
    """
    found = functions(tree) if found is None else found
    for function in found:
        if function.kind == "function" and (text := _spoken_name(function)):
            yield _tested(text, function.bare_body, document, name=qualified(function), line=function.start_line)
    if pattern := _SPOKEN.get(tree.language):
        yield from _spoken_tests(tree, document, pattern)


def _spoken_name(function: Function) -> str:
    """The name of a test function as words, "" when it is no test or says too little."""
    name, marked = function.name, _MARKED.get(function.language)
    match = _NAMED.match(name)
    if not match and not (marked and marked.search(function.signature)):
        return ""
    words = split_words(name[match.end() :] if match and len(name) > match.end() else name)
    while words and words[-1].isdigit():
        words.pop()
    text = " ".join(words)
    return text if len(words) >= _LEAST_WORDS and not refusal(text) else ""


def _spoken_tests(tree: SourceTree, document: Document, pattern: re.Pattern) -> Iterator[Tested]:
    source, root = tree.source, tree.tree.root_node
    groups: list[tuple[int, str]] = []  # (end, name) of the groups around
    line, counted = 1, 0
    for match in pattern.finditer(source):
        start = match.start(1)
        said = _string(source, match.end(), match.group(2))
        node = _call_at(root, start) if said else None
        if node is None:
            continue
        while groups and groups[-1][0] <= start:
            groups.pop()
        if match.group(1) in _GROUPS:
            groups.append((node.end_byte, said))
            continue
        body = _callback(tree, node)
        text = clean(said)
        if groups and len(text.split()) < 8 and " " in groups[-1][1]:
            text = clean(f"{groups[-1][1]} {said}")
        if body and len(said.split()) >= _LEAST_WORDS and not refusal(text):
            line, counted = line + source.count(b"\n", counted, start), start
            name = groups[0][1].strip("#.:") if groups else ""
            yield _tested(text, body, document, name=name or text, line=line, also=tuple(name for _, name in groups))


def _string(source: bytes, start: int, quote: bytes) -> str:
    """The text of a string that starts at `start`, on one line and without interpolation, else ""."""
    end = source.find(quote, start, start + 300)
    text = source[start : max(end, start)].decode("utf-8", "replace")
    return "" if "\n" in text or "${" in text or "#{" in text else _ESCAPE.sub(r"\1", text)


def _call_at(root: Node, start: int) -> Node | None:
    """The call expression that starts at `start`."""
    node = root.descendant_for_byte_range(start, start + 1)
    for _ in range(4):
        if node is None or node.start_byte != start:
            return None
        if node.type in ("call_expression", "call", "method_call"):
            return node
        node = node.parent
    return None


def _callback(tree: SourceTree, call: Node) -> str:
    """The body of the function or block that a test's call is given, without its braces."""
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
    lines = [line for line in map(str.rstrip, text.expandtabs(4).splitlines()) if line]
    margin = min([len(line) - len(line.lstrip(" ")) for line in lines], default=0)
    return "\n".join([line[margin:] for line in lines])


def _tested(text: str, code: str, document: Document, *, name: str, line: int, also: tuple[str, ...] = ()) -> Tested:
    """`also`: names of groups, which RSpec and Jest write as the method's ("#parse", ".call")."""
    named = [group.lstrip("#.:").partition("(")[0] for group in also]
    calls = [group for group in named if group.isidentifier()]
    searched = code[:_MOST_CHARACTERS]
    calls += "\n".join(_CALLED.findall(searched[::-1]))[::-1].split() + _METHOD.findall(searched)
    return Tested(
        text=text, calls=tuple(dict.fromkeys(calls)), code=code, language=document.language, name=name, path=document.path,
        start_line=line, package=document.package, version=document.version, licence=document.licence,
    )  # fmt: skip


def match_tests(tested: Iterable[Tested], definitions_by_name: Mapping[str, Sequence[tuple[Function, str]]]) -> Iterator[Pair]:
    """A pair per test, in order: with the function it tests where that is clear, else with the test's own body.

    `definitions_by_name` holds, by simple name, the (function, path) of every function or method the package defines
    outside tests. Names defined more than once do not count: which of them is called cannot be told. Of several, the
    one that shares most words with the test's name wins, then the longer, then the first called.
    """
    for test in tested:
        target = _target(test, definitions_by_name)
        if target is not None:
            function, path = target
            code, bare = function.signature + function.body, function.bare_body
            name, line = qualified(function), function.start_line
        else:
            code, bare, name, path, line = test.code, test.code, test.name, test.path, test.start_line
        if has_lines(bare, 2, test.language):
            yield Pair(
                text=test.text, code=code, bare_body=bare, description="", language=test.language, name=name, kind="test",
                path=path, start_line=line, package=test.package, version=test.version, licence=test.licence,
            )  # fmt: skip


def _target(test: Tested, definitions_by_name: Mapping[str, Sequence[tuple[Function, str]]]) -> tuple[Function, str] | None:
    said, best, best_score = _stems(test.text), None, (0, 0, 0)
    for call in test.calls:
        definitions = definitions_by_name.get(call, ())
        if len(definitions) != 1:
            continue
        shared = _shared(said, _stems(call))
        score = shared, len(call), -test.code.find(call)
        if shared and score > best_score and has_lines(definitions[0][0].bare_body, 2, definitions[0][0].language):
            best, best_score = definitions[0], score
    return best


@lru_cache(maxsize=4096)  # the same names are called by one test after the other
def _stems(text: str) -> tuple[str, ...]:
    return tuple([_stem(word) for word in split_words(text)])


def _shared(said: Sequence[str], called: Sequence[str]) -> int:
    """Number of words the names share; 0 when that says little.

    More than half of the called name must be said, and a name of one word must be among the first two that are said
    ("each" in "each never yields", not "config" in "requests win over config"): half of the matches were wrong without.
    """
    shared = len(set(called).intersection(said))
    if len(called) == 1:
        return int(called[0] in said[:2] and len(called[0]) > 2)
    return shared if 2 * shared > len(set(called)) else 0


@lru_cache(maxsize=4096)
def _stem(word: str) -> str:
    """Enough of a word to let "parses" and "parsing" meet "parse"."""
    for ending in ("ing", "ies", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
