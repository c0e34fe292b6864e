"""Comments with the block of code below them: pairs of kind "comment".

A search through the bytes of function bodies finds comments quickly. The syntax tree is used only for comments whose text
may become a pair: it shows whether this is a comment (a string can look like one) and which statements follow. The code
consists of whole statements: the first one after the comment and those below it, up to a blank line, the next comment of
the same level, or the end of the enclosing block. A comment that documents a definition gives no pair.
"""

import re
from collections.abc import Iterator, Sequence

from tree_sitter import Node

from codesage.corpus.pairs.evidence import does
from codesage.corpus.pairs.lines import has_lines
from codesage.corpus.pairs.markup import clean
from codesage.corpus.pairs.rules import refusal
from codesage.corpus.pairs.sentences import breaks_sentence
from codesage.corpus.pairs.verbs import may_be_verb, may_begin_action, stated_action
from codesage.languages import LANGUAGES
from codesage.records import Function
from codesage.syntax import SourceTree
from codesage.syntax.directives import is_directive, without_directives

LEAST_LINES, MOST_LINES = 2, 40  # of the code
_MOST_INDENTATION = 200  # bytes before a comment on its line
_MARKS = {"python": rb"#", "ruby": rb"#", "php": rb"//|#(?!\[)"}
_COMMENT = {  # starts at the line break before a comment; group 1: the mark of a line comment, 2: of a block comment
    language: re.compile(rb"\n[ \t]*(?:(" + _MARKS.get(language, rb"//") + rb")[^\n]*|(/\*))") for language in LANGUAGES
}
_ANY_MARK = {language: re.compile(rb"/[/*]") for language in LANGUAGES} | {  # a single literal is found fastest
    "python": re.compile(rb"#"),
    "ruby": re.compile(rb"#"),
    "php": re.compile(rb"/[/*]|#"),
}
_NO_PROSE = re.compile(
    r"(?:todo|fixme|xxx|hack|bug|nb|noqa|type:|pragma|pylint|mypy|ruff|flake8|isort|fmt:|eslint|tslint|jshint|jslint|istanbul|"
    r"prettier|@ts-|ts-ignore|nolint|go:|lint|rubocop|phpcs|phpstan|psalm|@var|@codecoverage|noinspection|suppress|nosonar|"
    r"checkstyle|resharper|#?(?:end)?region|language=|coverage|copyright|licen[cs]e|spdx|clang-format|-\*-|fall ?through|"
    r"https?:|c8 |v8 |webpack|gets? or sets?|sourcery|nosec|:nocov|>>>|given|when|then|arrange|act|assert)\b[:,]?",
    re.IGNORECASE,
)
_TAG = re.compile(r"[@\\][a-z]{2,}\b")  # of documentation: what follows is about parts, not about the code below
_BLANKS = re.compile(rb"[ \t]*")
_REGION = re.compile(rb"[ \t]*#[ \t]*region\b[^\n]*\n")
_REGION_LINES = re.compile(r"^[ \t]*#[ \t]*(?:end)?region\b.*\n?", re.MULTILINE)  # around statements inside statements
_COMMENT_IN_HEADER = re.compile(r"[):\w][ \t]*\n[ \t]*#")
_NO_STATEMENT = (b"", b"\n", b"\r", b"}", b")", b"]")  # beginnings of lines on which no statement starts
_THREE_WORDS = re.compile(r"(?>.*?[A-Za-z][a-z']+){3}", re.DOTALL)

_CLAUSES = frozenset(  # a label with its statements: both a statement and a block around statements
    "switch_case switch_default case_statement default_statement expression_case default_case type_case communication_case "
    "switch_section switch_block_statement_group switch_rule when case_clause in_clause".split()
)
_BLOCKS = _CLAUSES | frozenset(
    "block module statement_block statement_list program compound_statement constructor_body body_statement block_body "
    "then else ensure begin do rescue colon_block preproc_if preproc_ifdef preproc_else preproc_elif".split()
)
_REGIONS = frozenset(("preproc_region", "preproc_endregion"))
_LOOPS = re.compile(r"(?:enhanced_)?for_|foreach_|while_|do_|select_|switch_|\w+_switch_")  # statements with labels for 'break'
_BRANCHES = frozenset("else rescue ensure preproc_else preproc_elif".split())  # siblings of statements in the tree
_DEFINITIONS = frozenset(
    "function_definition class_definition decorated_definition function_declaration generator_function_declaration "
    "class_declaration abstract_class_declaration interface_declaration enum_declaration record_declaration "
    "type_alias_declaration local_function_statement method singleton_method class singleton_class module type_declaration "
    "const_declaration struct_specifier enum_specifier type_definition preproc_def preproc_function_def "
    "import_statement import_from_statement import_declaration".split()
)
_FUNCTION_VALUES = frozenset(
    "arrow_function function_expression generator_function class lambda lambda_expression func_literal anonymous_function "
    "anonymous_method_expression anonymous_function_creation_expression".split()
)
_BINDINGS = frozenset(
    "expression_statement assignment assignment_expression lexical_declaration variable_declaration variable_declarator "
    "export_statement return_statement local_variable_declaration local_declaration_statement equals_value_clause "
    "short_var_declaration expression_list declaration init_declarator parenthesized_expression".split()
)
_TEST_CALLS = frozenset("it test describe context suite specify scenario feature beforeEach afterEach before after".split())


def comments_of(tree: SourceTree, functions: Sequence[Function]) -> Iterator[tuple[Function, int, str, str]]:
    """Yields (enclosing function, first byte of the comment, its text, the code below it), in source order."""
    end, documented = 0, {function.start_byte for function in functions}
    for function in functions:
        if function.kind == "function" and function.start_byte >= end:  # nested functions are read with the outer one
            end = function.end_byte
            for first, text, code in _comments_in(tree, function, documented):
                yield function, first, text, code


def _comments_in(tree: SourceTree, function: Function, documented: set[int]) -> Iterator[tuple[int, str, str]]:
    """Yields the comments in a function, but not those above the first bytes of definitions, `documented`."""
    source, comment, any_mark = tree.source, _COMMENT[tree.language], _ANY_MARK[tree.language]
    position, end = _header_end(function), function.end_byte
    while mark := any_mark.search(source, position, end):
        first, position = mark.start(), mark.end()
        line_break = source.rfind(b"\n", max(first - _MOST_INDENTATION, 0), first)
        match = comment.match(source, line_break) if line_break >= 0 else None
        if match is None or max(match.start(1), match.start(2)) != first:
            continue  # it is behind code on its line
        raw, position = _comment_at(source, match, end, comment)
        if tree.language == "csharp":
            position = _below_region(source, position)
        start = _indented(source, position)
        if source[start : start + 1] in _NO_STATEMENT or start in documented or not (text := _text(raw, tree.language)):
            continue
        if (code := _code_below(tree, first, position, start)) and does(text, code):
            yield first, text, code


def _indented(source: bytes, line: int) -> int:
    """Index of the first byte at or after `line` that is not a space or tab."""
    return match.end() if (match := _BLANKS.match(source, line)) else line


def _below_region(source: bytes, line: int) -> int:
    """First byte of the line below `#region` if the line at byte `line` is one, or else `line`."""
    return match.end() if (match := _REGION.match(source, line)) else line


def _header_end(function: Function) -> int:
    """Index of the first byte of the body, or of a few bytes before it.

    The trees of Python and Ruby count comments above the body as part of the signature.
    """
    signature = function.signature
    if "#" in signature and function.language in ("python", "ruby"):
        match = _COMMENT_IN_HEADER.search(signature, signature.find("def "))
        signature = signature[: match.start()] if match else signature
    return function.start_byte + len(signature)


def _comment_at(source: bytes, opening: re.Match[bytes], end: int, comment: re.Pattern[bytes]) -> tuple[str, int]:
    """(text, first byte of the next line) of the comment at a match; adjacent line comments are joined."""
    if opening.group(2):
        close = source.find(b"*/", opening.end(), end)
        after = source.find(b"\n", close, end) + 1 if close >= 0 else 0
        if not after or source[close + 2 : after].strip():
            return "", max(after, opening.end())
        text = source[opening.end() : close].decode("utf-8", "replace")
        lines = [line.strip(" \t*\r") for line in text.split("\n")]
        tagged = next((number for number, line in enumerate(lines) if line and _TAG.match(line)), len(lines))
        return "\n".join(lines[:tagged]), after
    lines, after, indent = [], opening.end(), opening.start(1) - opening.start()
    match: re.Match[bytes] | None = opening
    while match and match.group(1) and match.start(1) - match.start() == indent:
        line = source[match.end(1) : match.end()].decode("utf-8", "replace").removeprefix(": ")  # "#: Text", of Sphinx
        lines.append(line.strip("/#! \t\r"))
        after = match.end()
        match = comment.match(source, after, end)
    return "\n".join(lines), after + 1


def _text(raw: str, language: str) -> str:
    """The text for a pair, or "" if the comment is not suitable."""
    if not _reads_as_prose(raw):
        return ""
    lines = without_directives(filter(None, [" ".join(line.split()) for line in raw.split("\n")]), language)
    lines = [_without_last_directive(line, language) for line in lines]
    first = lines[0].partition(" ")[0] if lines else ""
    if first.isalpha() and first.isascii() and not may_begin_action(first):
        return ""
    text = stated_action(clean(_joined(lines), language)).rstrip(".: ")
    return "" if refusal(text) else text


def _without_last_directive(line: str, language: str) -> str:
    """A line without a directive behind its text: "Drop the rows # noqa"."""
    text, mark, last = line.rpartition(" # " if language in ("python", "ruby") else " // ")
    return text if mark and is_directive(last, language) else line


def _joined(lines: Sequence[str]) -> str:
    """The lines of a comment as one, with a full stop where a break ends a sentence without one."""
    joined: list[str] = []
    for line in lines:
        if joined and breaks_sentence(joined[-1], line, more=may_be_verb):
            joined[-1] += "."
        joined.append(line)
    return " ".join(joined)


def _reads_as_prose(text: str) -> bool:
    """Whether raw text may be prose, by a cheap test: three words, no directive, no line of dashes, no line of code."""
    if len(text) > 2_000 or not _THREE_WORDS.match(text) or _NO_PROSE.match(text):
        return False
    if "(" not in text and "=" not in text:
        return True
    return not any(line.endswith((";", "{", "}", ")")) and ("(" in line or "=" in line) for line in text.split("\n"))


def _code_below(tree: SourceTree, first: int, line: int, start: int) -> str:
    """The statements below the comment at byte `first`; they begin at byte `start`, on the line that begins at byte `line`."""
    comment = tree.at(first)
    if comment is None or "comment" not in comment.type:
        return ""
    statement = _statement_at(tree, start)
    if statement is None or _defines(tree, statement[0]):
        return ""
    end = _end_of_block(*statement)
    code = _dedented(tree.source, line, start, end) if end else ""
    if tree.language == "csharp" and "region" in code:
        code = _REGION_LINES.sub("", code)
    return code if code.count("\n") < MOST_LINES and has_lines(code, LEAST_LINES, tree.language) else ""


def _statement_at(tree: SourceTree, start: int) -> tuple[Node, Node] | None:
    """Returns (the statement that starts at byte `start`, its enclosing block), or None."""
    node = tree.at(start)
    while node is not None and node.start_byte == start:
        parent = tree.parent(node)
        if parent is None:
            return None
        if parent.type in _BLOCKS and not (parent.type in _CLAUSES and parent.start_byte == start):
            return (node, parent) if node.is_named and "comment" not in node.type and not node.has_error else None
        if node.type in _CLAUSES:
            return None if node.has_error else (node, parent)
        node = parent
    return None


def _defines(tree: SourceTree, statement: Node) -> bool:
    """Whether a statement defines a function, a class or a type, or is a test with its callback."""
    node: Node | None = statement
    for _ in range(6):
        if node is None:
            return False
        if node.type in _DEFINITIONS or node.type in _FUNCTION_VALUES:
            return True
        if node.type in ("call_expression", "call"):
            called = node.child_by_field_name("function") or node.child_by_field_name("method")
            return called is not None and tree.text(called).partition(".")[0] in _TEST_CALLS
        if node.type not in _BINDINGS:
            return False
        node = node.child_by_field_name("value") or node.child_by_field_name("right") or _last(node)
    return False


def _last(node: Node) -> Node | None:
    return node.named_child(node.named_child_count - 1) if node.named_child_count else None


def _end_of_block(statement: Node, block: Node) -> int:
    """End of the statements from `statement` up to a blank line, a comment on a line of its own, or the end of the block.

    Returns 0 if they are longer than MOST_LINES.
    """
    if statement.type in _CLAUSES:
        return statement.end_byte
    cursor = block.walk()
    cursor.goto_first_child_for_byte(statement.start_byte)
    end, row, first_row = statement.end_byte, _last_row(statement), statement.start_point.row
    while cursor.goto_next_sibling() and (node := cursor.node) is not None:
        begins = node.start_point.row
        if begins > row + 1 or (not node.is_named and begins > row):
            break
        if "comment" in node.type:
            if begins > row:
                break
            continue  # it is behind a statement on its line
        if node.type in _BRANCHES or node.type in _REGIONS or _is_target(node):
            break
        end, row = node.end_byte, _last_row(node)
        if row - first_row > MOST_LINES:
            return 0
    return end


def _is_target(node: Node) -> bool:
    """Whether a statement has a label that `goto` leads to, and is no loop: it does not follow from the statements above."""
    if node.type not in ("labeled_statement", "named_label_statement"):
        return False
    labelled = _last(node)
    return labelled is None or not _LOOPS.match(labelled.type)


def _last_row(node: Node) -> int:
    row, column = node.end_point
    return row - (column == 0)


def _dedented(source: bytes, line: int, start: int, end: int) -> str:
    margin = " " * len(source[line:start].expandtabs(4))
    lines = source[line:end].decode("utf-8", "replace").expandtabs(4).split("\n")
    texts = [text.removeprefix(margin) if text.startswith(margin) else text.lstrip(" ") for text in lines]
    return "\n".join(map(str.rstrip, texts)).rstrip()
