"""Pairs of kinds of their own: the other places where people write plain language next to code.

"example": a paragraph of documentation with the example that follows it, in docstrings and in Markdown or reST files;
"comment": a comment alone above a block of statements, with the block. (Names of tests: tested.py.) Nothing here
walks the tree: docstrings are already read, comments are found in the bytes of function bodies, and the tree is asked
only whether a comment that is about to become a pair is one (a string can look like it). Examples are parsed once
more, unless a fence names their language: what has syntax errors is output, a table or a drawing.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from codesage.corpus.pairs.docblocks import Block, blocks_of, may_hold_code
from codesage.corpus.pairs.prose import clean, count_tokens, first_sentence, summary
from codesage.corpus.pairs.rules import has_lines, qualified, refusal
from codesage.corpus.pairs.tested import Tested, match_tests, tested_of
from codesage.languages import LANGUAGES
from codesage.records import Document, Function, Pair
from codesage.syntax import ParseRefused, SourceTree, functions, parse

__all__ = ["Tested", "examples_in_prose", "match_tests", "passages_of", "tested_of"]

LEAST_LINES, MOST_LINES = 2, 40  # of a block below a comment, and of an example
_MOST_EXAMPLE_LINES = 80
_PARAGRAPH_TOKENS = 100  # a longer paragraph is cut to the sentences that fit
_FENCES = {
    "python": "python py python3 pycon ipython ipython3 sage", "java": "java", "javascript": "javascript js jsx mjs node",
    "typescript": "typescript ts tsx", "csharp": "csharp c# cs", "c": "c", "ruby": "ruby rb irb erb", "go": "go golang",
    "php": "php html+php",
}  # fmt: skip
_LANGUAGE_OF_FENCE = {fence: language for language, fences in _FENCES.items() for fence in fences.split()}
_ONLY_POINTS = re.compile(
    r"(?:(?:for|an?|some|simple|basic|more|code|usage|here(?:'s| is)|see|the|as|is|examples?|instance|sample|follow(?:s|ing)|"
    r"below|like|this|used|use|so|output)\b[\s:.,]*)+$",
    re.IGNORECASE,
)
_MARKS = {"python": rb"#", "ruby": rb"#", "php": rb"//|#(?!\[)"}
_COMMENT = {  # from the line break before it: (1) a line mark, or (2) the opening of a block comment
    language: re.compile(rb"\n[ \t]*(?:(" + _MARKS.get(language, rb"//") + rb")[^\n]*|(/\*))") for language in LANGUAGES
}
_ANY_MARK = {language: re.compile(rb"/[/*]") for language in LANGUAGES} | {  # of one literal, which re finds fastest
    "python": re.compile(rb"#"), "ruby": re.compile(rb"#"), "php": re.compile(rb"/[/*]|#"),
}  # fmt: skip
_OPENS_COMMENT = {language: re.compile(_MARKS.get(language, rb"//").decode() + r"|/\*") for language in LANGUAGES}
_MOST_INDENTATION = 200  # bytes before a comment on its line
_NO_PROSE = re.compile(
    r"(?:todo|fixme|xxx|hack|bug|nb|noqa|type:|pragma|pylint|mypy|ruff|flake8|isort|fmt:|eslint|tslint|jshint|jslint|istanbul|"
    r"prettier|@ts-|ts-ignore|nolint|go:|lint|rubocop|phpcs|phpstan|psalm|@var|@codecoverage|noinspection|suppress|nosonar|"
    r"checkstyle|resharper|#?(?:end)?region|language=|coverage|copyright|licen[cs]e|spdx|clang-format|-\*-|fall ?through|"
    r"https?:|c8 |v8 |webpack|sourcery|nosec|:nocov|>>>|given|when|then|arrange|act|assert)\b[:,]?",
    re.IGNORECASE,
)
_COMMENT_IN_HEADER = re.compile(r"[):\w][ \t]*\n[ \t]*#")
_ELLIPSIS = re.compile(r"^[ \t]*(?:#|//)?[ \t]*(?:\.\.\.|…)[ \t]*$", re.MULTILINE)
_THREE_WORDS = re.compile(r"(?>.*?[A-Za-z][a-z']+){3}", re.DOTALL)


def passages_of(tree: SourceTree, document: Document, *, found: Sequence[Function] | None = None) -> Iterator[Pair]:
    """Pairs of kinds "example" and "comment" of a parsed document; `found` are its functions when known already."""
    found = functions(tree) if found is None else found
    for function in found:
        if function.docstring:
            yield from _examples_of(function, document)
    yield from _comments_of(tree, found, document)


def _examples_of(function: Function, document: Document) -> Iterator[Pair]:
    if function.language == "go" and function.name.startswith("Example") and document.path.endswith("_test.go"):
        text = summary(function.docstring, "go")
        if not refusal(text) and has_lines(function.bare_body, LEAST_LINES):
            yield _pair("example", text, function.bare_body, document, name=function.name, line=function.start_line)
        return
    if not may_hold_code(function.docstring, function.language):
        return
    blocks = blocks_of(function.docstring, function.language)
    if any(block.kind == "code" for block in blocks):
        whole = summary(function.docstring, function.language)
        for text, code, language in _led_examples(blocks, whole, function.language):
            yield _pair("example", text, code, document, name=qualified(function), line=function.start_line, language=language)


def _led_examples(blocks: Sequence[Block], whole: str, language: str) -> Iterator[tuple[str, str, str]]:
    """(text, code, language) of each example; one that no paragraph introduces takes `whole`, once, or is left out."""
    lead, used = "", False
    for block in blocks:
        if block.kind in ("text", "lead"):
            lead = block.text
            continue
        if block.kind != "code":
            lead = ""
            continue
        fence = block.name.split(",")[0].split()[0] if block.name.strip() else ""
        spoken = _LANGUAGE_OF_FENCE.get(fence, "") if fence else language
        text = _paragraph(lead, language)
        if not text and not used:
            text, used = whole, True
        code = block.text.strip("\n")
        if spoken and text and not refusal(text) and _is_example(code, spoken, named=bool(fence)):
            yield text, code, spoken
        lead = ""


def _is_example(code: str, language: str, *, named: bool) -> bool:
    """Whether a block is worth a pair: enough lines, not too many, and, unless a fence named its language, code of it."""
    if not has_lines(code, LEAST_LINES) or code.count("\n") >= _MOST_EXAMPLE_LINES or len(code) > 8_000:
        return False
    if not any(mark in code for mark in "(=;{[") or code.lstrip().startswith(("$ ", "% ", "HTTP/", "|", "+--")):
        return False
    if named:
        return True
    words = code.split()
    if sum(map(str.isalpha, words)) > 0.6 * len(words):  # Ruby parses prose
        return False
    text = _ELLIPSIS.sub("", code)
    try:
        tree = parse("<?php " + text if language == "php" and "<?" not in text else text, language)
    except ParseRefused:
        return False
    return not tree.has_errors


def _paragraph(text: str, language: str) -> str:
    """A paragraph, cleaned, cut to the first sentences that fit _PARAGRAPH_TOKENS (at least one), its colon dropped.

    "" where it only points at what follows ("For example:").
    """
    text = text[:4_000]
    end = len(first := first_sentence(text))
    while end < len(text) and (following := first_sentence(text[end:].lstrip())):
        longer = text.index(following, end) + len(following)
        if count_tokens(text[:longer]) > _PARAGRAPH_TOKENS:
            break
        end = longer
    text = clean(text[: max(end, len(first))], language).rstrip(": ")
    return "" if _ONLY_POINTS.match(text[:120]) else text


def _comments_of(tree: SourceTree, found: Sequence[Function], document: Document) -> Iterator[Pair]:
    """Comments in function bodies, alone above at least two lines of statements, with the block of statements below."""
    end, line, counted = 0, 1, 0
    for function in found:
        if function.kind != "function" or function.start_byte < end:
            continue  # what lies in another function was read with it
        end = function.end_byte
        for first, text, code in _blocks_in(tree, function):
            line, counted = line + tree.source.count(b"\n", counted, first), first
            yield _pair("comment", text, code, document, name=qualified(function), line=line)


def _blocks_in(tree: SourceTree, function: Function) -> Iterator[tuple[int, str, str]]:
    """(first byte of the comment, its text, the block below it) of one function."""
    source, comment, any_mark = tree.source, _COMMENT[tree.language], _ANY_MARK[tree.language]
    position, end = _header_end(function), function.end_byte
    while mark := any_mark.search(source, position, end):
        first, position = mark.start(), mark.end()
        line_break = source.rfind(b"\n", max(first - _MOST_INDENTATION, 0), first)
        match = comment.match(source, line_break) if line_break >= 0 else None
        if match is None or max(match.start(1), match.start(2)) != first:
            continue  # it trails code
        text, position = _comment_at(source, match, end, comment)
        if not _reads_as_prose(text):
            continue
        code, position = _block_below(source, position, end, _column(source, first), _OPENS_COMMENT[tree.language])
        if not code:
            continue  # as two of five: looked at before the text, which costs more
        text = clean(" ".join(text.split()), tree.language)
        text = first_sentence(text) if len(text) > 4 * _PARAGRAPH_TOKENS else text
        text = text.rstrip(".: ")
        if not refusal(text) and _is_comment(tree, first):
            yield first, text, code


def _header_end(function: Function) -> int:
    """First byte (or a few before) of the body; Python's and Ruby's trees count comments above it as signature."""
    signature = function.signature
    if "#" in signature and function.language in ("python", "ruby"):
        match = _COMMENT_IN_HEADER.search(signature, signature.find("def "))
        signature = signature[: match.start()] if match else signature
    return function.start_byte + len(signature)


def _comment_at(source: bytes, match: re.Match, end: int, comment: re.Pattern) -> tuple[str, int]:
    """(text, first byte of the line after) of the comment of a match; line comments below each other are joined."""
    if match.group(2):
        close = source.find(b"*/", match.end(), end)
        after = source.find(b"\n", close, end) + 1 if close >= 0 else 0
        if not after or source[close + 2 : after].strip():
            return "", max(after, match.end())
        text = source[match.end() : close].decode("utf-8", "replace")
        return "\n".join(line.strip(" \t*\r") for line in text.splitlines()), after
    lines, after, indent = [], match.end(), match.start(1) - match.start()
    while match and match.group(1) and match.start(1) - match.start() == indent:
        lines.append(source[match.end(1) : match.end()].decode("utf-8", "replace").strip("/#! \t\r"))
        after = match.end()
        match = comment.match(source, after, end)
    return "\n".join(lines), after + 1


def _column(source: bytes, position: int) -> int:
    start = source.rfind(b"\n", 0, position) + 1
    return len(source[start:position].expandtabs(4))


def _reads_as_prose(text: str) -> bool:
    """A cheap look before anything is cleaned: three words, no directive, no rule of dashes, no code in any line."""
    if len(text) > 2_000 or not _THREE_WORDS.match(text) or _NO_PROSE.match(text):
        return False
    return not any(line.endswith((";", "{", "}", ")")) and ("(" in line or "=" in line) for line in text.splitlines())


def _block_below(source: bytes, position: int, end: int, column: int, opens_comment: re.Pattern) -> tuple[str, int]:
    """(code, end) of the lines from `position` to the next blank line, comment, or line indented less than `column`."""
    lines: list[str] = []
    while position < end and len(lines) <= MOST_LINES:
        stop = source.find(b"\n", position, end)
        stop = end if stop < 0 else stop
        line = source[position:stop].decode("utf-8", "replace").expandtabs(4).rstrip()
        said = line.lstrip(" ")
        if not line or len(line) - len(said) < column or opens_comment.match(said):
            break
        lines.append(line[column:])
        position = stop + 1
    while lines and not any(map(str.isalnum, lines[-1])) and "".join(lines).count("{") < "".join(lines).count("}"):
        lines.pop()  # the brace that closes what is around the block
    return ("\n".join(lines), position) if LEAST_LINES <= len(lines) <= MOST_LINES else ("", position)


def _is_comment(tree: SourceTree, position: int) -> bool:
    node = tree.tree.root_node.descendant_for_byte_range(position, position + 1)
    return node is not None and "comment" in node.type


def examples_in_prose(
    text: str, path: str, *, language: str = "", package: str = "", version: str = "", licence: str = ""
) -> Iterator[Pair]:
    """Pairs of kind "example" of a Markdown or reST file: each paragraph with the block of code that follows it.

    A fence must name one of the nine languages, or name none in a package of `language`; other paths give nothing.
    """
    suffix = PurePosixPath(path).suffix.lower()
    if suffix not in (".md", ".markdown", ".mdx", ".rst", ".rdoc", ".txt"):
        return
    dialect = "python" if suffix in (".rst", ".txt") else "ruby" if suffix == ".rdoc" else "markdown"
    document = Document(path, language, "", "", package, version, licence)
    for line, part in _parts(text):
        for lead, code, spoken in _led_examples(blocks_of(part, dialect), "", language):
            yield _pair("example", lead, code, document, name=PurePosixPath(path).stem, line=line, language=spoken)


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Pieces of a long document that blocks_of reads whole, cut at blank lines outside fences, with their first line."""
    lines, first, size, fenced = [], 1, 0, False
    for number, line in enumerate(text.splitlines(), start=1):
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        if size > 12_000 and not line.strip() and not fenced:
            yield first, "\n".join(lines)
            lines, first, size = [], number, 0
        lines.append(line)
        size += len(line) + 1
    yield first, "\n".join(lines)


def _pair(kind: str, text: str, code: str, document: Document, *, name: str, line: int, language: str = "") -> Pair:
    return Pair(
        text=text, code=code, bare_body=code, description="", language=language or document.language, name=name, kind=kind,
        path=document.path, start_line=line, package=document.package, version=document.version, licence=document.licence,
    )  # fmt: skip
