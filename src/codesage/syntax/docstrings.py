"""The comment or string that documents a definition, without its marks.

Python's docstring is the first statement of the body; in the other eight languages it is the block of comments that
ends on the line before the definition. A blank line between the two detaches them.
"""

import re

_STRING = re.compile(r"""^[rRuUbBfF]{0,2}("{3}|'{3}|"|')(.*)\1$""", re.DOTALL)
_LINE_MARKS = {"ruby": ("#",), "php": ("//", "#")}
_DIRECTIVE = re.compile(
    r"^(?:go:|\+build|nolint|eslint|@ts-|prettier-|tslint:|jshint|istanbul |c8 |rubocop:|frozen_string_literal:"
    r"|typed: |phpcs:|phpstan-|psalm-|@codeCoverageIgnore|NOLINT|NOSONAR|ReSharper |clang-format|lint:|noinspection"
    r"|#?(?:end)?region\b|-\*- |!/|export \w+$|:nocov:|@formatter:|[-=*/~#_+]{4,}$|--$|\+\+$)"
)
_STAR = re.compile(r"\n[ \t]*\* ?")
_FLUSH = re.compile(r"\n\S")
_OPENINGS = 16  # "/*" inside one comment ("src/*.js") that are looked past before giving up


def python_docstring(literal: str) -> str:
    """The text of a Python docstring, given as it stands in the source, quotes included."""
    match = _STRING.match(literal)
    return _cleaned(match.group(2)) if match else ""


def comment_before(source: bytes, start: int, language: str) -> tuple[str, int]:
    """The comment block that ends on the line before byte `start`: (its text without marks, its first byte).

    ("", start) when there is none, when a blank line lies between, or when it trails code on its line.
    """
    line = _line_start(source, start)
    end = line - 1  # the line break before the definition's line, then the last byte of the line above
    while end > 0 and source[end - 1] in b" \t\r":
        end -= 1
    if end <= 0 or source[end - 1] == 10 or source[line:start].strip():
        return "", start  # the first line, a blank line above, or code before the definition on its own line
    if language == "ruby" and source.startswith(b"=end", _line_start(source, end)):
        return _begin_end(source, _line_start(source, end), start)
    if source.endswith(b"*/", 0, end) and language != "ruby":
        return _block(source, end, start)
    return _lines(source, line, start, _LINE_MARKS.get(language, ("//",)))


def _block(source: bytes, end: int, start: int) -> tuple[str, int]:
    floor = source.rfind(b"*/", 0, end - 2)
    opening = end - 1
    for _ in range(_OPENINGS):
        opening = source.rfind(b"/*", max(floor, 0), opening)
        if opening < 0:
            return "", start
        if not source[_line_start(source, opening) : opening].strip():
            break
    else:
        return "", start
    text = source[opening + 2 : max(end - 2, opening + 2)].decode("utf-8", "replace").strip("*!").replace("\r", "")
    return _cleaned(_STAR.sub("\n", "\n" + text)[1:]).strip(), opening


def _cleaned(text: str) -> str:
    """What inspect.cleandoc gives; lines are measured only where none is flush, which is half of its time."""
    text = text.expandtabs()
    first, broken, rest = text.partition("\n")
    if broken and not _FLUSH.search(text):
        lines = rest.split("\n")
        margin = min([len(line) - len(line.lstrip()) for line in lines if line.strip()], default=0)
        rest = "\n".join([line[margin:] for line in lines])
    return f"{first.lstrip()}{broken}{rest}".strip("\n")


def _begin_end(source: bytes, end: int, start: int) -> tuple[str, int]:
    """Ruby's block comment, `=begin` and `=end` each at the start of a line; `end` is where `=end` starts."""
    opening = source.rfind(b"=begin", 0, end)
    if opening < 0 or _line_start(source, opening) != opening or b"\n=end" in source[opening : end - 1]:
        return "", start
    first = source.find(b"\n", opening, end)
    text = source[first + 1 : end].decode("utf-8", "replace") if first >= 0 else ""
    return _cleaned(text.replace("\r", "")).strip(), opening


def _lines(source: bytes, line: int, start: int, marks: tuple[str, ...]) -> tuple[str, int]:
    texts, first = [], start
    while line > 0:
        previous = _line_start(source, line - 1)
        raw = source[previous : line - 1].decode("utf-8", "replace").strip()
        mark = next((mark for mark in marks if raw.startswith(mark)), None)
        if mark is None or raw.startswith("#["):  # the latter is an attribute of PHP
            break
        texts.append(raw.lstrip(mark[0]).removeprefix("!").removeprefix(" ").rstrip())
        first, line = source.find(mark.encode(), previous), previous
    texts = [text for text in reversed(texts) if not _DIRECTIVE.match(text)]
    return "\n".join(texts).strip("\n"), first


def _line_start(source: bytes, position: int) -> int:
    return source.rfind(b"\n", 0, position) + 1
