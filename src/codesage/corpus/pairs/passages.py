"""Pairs of kinds "example" and "comment": other places where people write plain language next to code.

"example": a paragraph of documentation with the example below it, in docstrings and in Markdown or reST files.
"comment": a comment in a function with the statements below it (comments.py). Names of tests are in tested.py.
Unless a fence names its language, an example must parse: text with syntax errors is output, a table or a drawing.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from textwrap import dedent

from codesage.corpus.pairs.comments import comments_of
from codesage.corpus.pairs.docblocks import blocks_of, may_hold_code
from codesage.corpus.pairs.docreader import ITEM, Block
from codesage.corpus.pairs.introductions import introduction, task
from codesage.corpus.pairs.lines import has_lines
from codesage.corpus.pairs.prose import summary
from codesage.corpus.pairs.rules import qualified, refusal
from codesage.corpus.pairs.snippets import is_foreign, parsed
from codesage.records import Document, Function, Pair
from codesage.syntax import SourceTree, functions

LEAST_LINES, MOST_LINES = 2, 80  # of an example's code
_FENCES = {
    "python": "python py python3 pycon ipython ipython3 sage",
    "java": "java",
    "javascript": "javascript js jsx mjs node",
    "typescript": "typescript ts tsx",
    "csharp": "csharp c# cs",
    "c": "c",
    "ruby": "ruby rb irb erb",
    "go": "go golang",
    "php": "php html+php",
}
_LANGUAGE_OF_FENCE = {fence: language for language, fences in _FENCES.items() for fence in fences.split()}
_CHANGES = re.compile(
    r"(?:^|/)(?:change(?:s|log)|upgrad\w*|migrat\w*|history|news|release[-_ ]?notes?|whats?[-_ ]?new)\b", re.IGNORECASE
)
_DOES = re.compile(r"[{=]|^\s*[\w>.-]+\s?\(", re.MULTILINE)  # C code that does more than declare
_IMPORT_LINE = re.compile(r"\s*(?:import|from|require|require_once|use|using|include|#include|package|namespace|<\?php|#|//|$)")
_PARTIAL = re.compile(  # code with omissions, or shown as good or bad style
    r"^[ \t]*(?:\.{3,}|…)[ \t]*$|^[ \t]*(?:#|//)[ \t]*(?:bad|good|wrong|right|correct|incorrect|before|after|not ok)\b[\s:.]*$|"
    r"^[ \t]*(?:#|//) (?:@|/)?(?:bad|good)\b|</?pre>|\{%|^[ \t]*[$%] \w",
    re.IGNORECASE | re.MULTILINE,
)
_RETURNS = re.compile(r"\breturn\b")
_CALL = re.compile(r"[\w)>\]!?]\s?\(")
_RUNS = re.compile(r"[\w)>\]!?]\s?\(|[\w)]\s?=>|[-+*/]=|\bfor\b|\bawait\b|\w\.\w|\w\[", re.MULTILINE)
_DECLARES = re.compile(
    r"(?:\s*(?://|#|/\*|@).*\n)*\s*(?:export |public |declare |type \S+ )?(?:interface|service|message|enum|struct|"
    r"typedef|syntax|rpc)\b"
    r"(?!.*\bfunc\b)"
)
_ELLIPSIS = re.compile(r"^[ \t]*(?:#|//)?[ \t]*(?:\.\.\.|…)[ \t]*$", re.MULTILINE)


def passages_of(tree: SourceTree, document: Document, *, definitions: Sequence[Function] | None = None) -> Iterator[Pair]:
    """Yields the pairs of kinds "example" and "comment" of a parsed document.

    `definitions` are its functions and classes, if the caller already has them.
    """
    definitions = functions(tree) if definitions is None else definitions
    for function in definitions:
        if function.docstring:
            yield from _examples_of(function, document)
    line, counted = 1, 0
    for function, first, text, code in comments_of(tree, definitions):
        line, counted = line + tree.source.count(b"\n", counted, first), first
        yield _pair("comment", text, code, document, name=qualified(function), line=line)


def _examples_of(function: Function, document: Document) -> Iterator[Pair]:
    if function.language == "go" and function.name.startswith("Example") and document.path.endswith("_test.go"):
        text = task(summary(function.docstring, "go", name=function.name))
        code = dedent(function.body.strip().removeprefix("{").removesuffix("}").expandtabs(4)).strip("\n").rstrip()
        if not refusal(text) and has_lines(code, LEAST_LINES, "go"):
            yield _pair("example", text, code, document, name=function.name, line=function.start_line)
        return
    if not may_hold_code(function.docstring, function.language):
        return
    blocks = blocks_of(function.docstring, function.language)
    if any(block.kind == "code" for block in blocks):
        for text, code, language in _led_examples(blocks, function.docstring, function.language):
            yield _pair("example", text, code, document, name=qualified(function), line=function.start_line, language=language)


def _led_examples(blocks: Sequence[Block], docstring: str, language: str) -> Iterator[tuple[str, str, str]]:
    """Yields (text, code, language) of each example.

    The first example that no paragraph introduces gets the summary of the `docstring`; others without an introduction are
    left out, and so is the first if `docstring` is "".
    """
    lead, head, items, used = "", "", 0, False
    for block in blocks:
        if block.kind in ("text", "lead"):
            items = items + 1 if block.name == ITEM else 0
            head = block.text if not items else head
            lead = head if items > 1 else block.text  # items tell parts, the text above them the whole
            continue
        if block.kind != "code":
            lead, head, items = "", "", 0
            continue
        fence = block.name.split(",")[0].split()[0] if block.name.strip() else ""
        code_language = _LANGUAGE_OF_FENCE.get(fence, "") if fence else language
        text = introduction(lead, language)
        if text == "" and not used:
            text, used = task(summary(docstring, language)), True
        code = _without_prompts(block.text.strip("\n"))
        if code_language and text and not refusal(text) and _is_example(code, code_language, named=bool(fence)):
            yield text, code, code_language
        lead, head, items = "", "", 0


def _without_prompts(code: str) -> str:
    """The statements of an interactive Python session, without prompts and output. Other code is returned unchanged."""
    lines = code.split("\n")
    if not any(line.startswith(">>> ") for line in lines):
        return code
    return "\n".join(line[4:] for line in lines if line.startswith((">>> ", "... ")))


def _is_example(code: str, language: str, *, named: bool) -> bool:
    """Whether a block is a usable example: not too short or long, and, unless a fence `named` its language, valid code."""
    if not has_lines(code, LEAST_LINES, language) or code.count("\n") >= MOST_LINES or len(code) > 8_000:
        return False
    if all(map(_IMPORT_LINE.match, code.split("\n"))) or (language == "c" and not _DOES.search(code)):
        return False
    if not any(mark in code for mark in "(=;{[") or code.lstrip().startswith(("$ ", "% ", "HTTP/", "|", "+--")):
        return False
    if _PARTIAL.search(code) or (language != "ruby" and not _RUNS.search(code)) or _declares_only(code):
        return False
    if named:
        return not is_foreign(code, language)
    words = code.split()
    if sum(map(str.isalpha, words)) > 0.6 * len(words):  # Ruby's parser accepts prose
        return False
    tree = parsed(_ELLIPSIS.sub("", code), language)
    return tree is not None and not tree.has_errors


def _declares_only(code: str) -> bool:
    """Whether code is only data or declarations: settings, an interface, a structure, a schema."""
    return (code[0] in "{[<" and not _CALL.search(code)) or (_DECLARES.match(code) is not None and not _RETURNS.search(code))


def examples_in_prose(
    text: str, path: str, *, language: str = "", package: str = "", version: str = "", licence: str = ""
) -> Iterator[Pair]:
    """Yields the pairs of kind "example" of a Markdown or reST file: paragraphs with the block of code below them.

    A fence must name one of the nine languages; a fence that names none has code in `language`. Files with other suffixes
    give nothing, nor do change logs, which describe what has changed and not what the code does.
    """
    suffix = PurePosixPath(path).suffix.lower()
    if suffix not in (".md", ".markdown", ".mdx", ".rst", ".rdoc", ".txt") or _CHANGES.search(path):
        return
    dialect = "python" if suffix in (".rst", ".txt") else "ruby" if suffix == ".rdoc" else "markdown"
    document = Document(path, language, "", "", package, version, licence)
    for line, part in _parts(text):
        for lead, code, code_language in _led_examples(blocks_of(part, dialect), "", language):
            yield _pair("example", lead, code, document, name=PurePosixPath(path).stem, line=line, language=code_language)


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Yields (number of the first line, text) of pieces short enough for blocks_of, cut at blank lines outside fences."""
    lines, first, size, fenced = [], 1, 0, False
    for number, line in enumerate(text.split("\n"), start=1):
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        if size > 12_000 and not line.strip() and not fenced:
            yield first, "\n".join(lines)
            lines, first, size = [], number, 0
        lines.append(line)
        size += len(line) + 1
    yield first, "\n".join(lines)


def _pair(kind: str, text: str, code: str, document: Document, *, name: str, line: int, language: str = "") -> Pair:
    return Pair(
        text=text,
        code=code,
        bare_body=code,
        description="",
        language=language or document.language,
        name=name,
        kind=kind,
        path=document.path,
        start_line=line,
        package=document.package,
        version=document.version,
        licence=document.licence,
    )
