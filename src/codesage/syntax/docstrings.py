"""The comment or string that documents a definition, without its marks.

Python's docstring is the first statement of the body; in the other eight languages it is the block of comments that
ends on the line before the definition. A blank line between the two detaches them.
"""

import inspect
import re

_STRING = re.compile(r"""^[rRuUbBfF]{0,2}("{3}|'{3}|"|')(.*)\1$""", re.DOTALL)
_LINE_MARKS = {"ruby": ("#",), "php": ("//", "#")}
_STAR = re.compile(r"^[ \t]*\*(?: |(?=\S)|$)", re.MULTILINE)
_DIRECTIVE = re.compile(r"^(go:|nolint|eslint-|@ts-|prettier-|tslint:|rubocop:|frozen_string_literal:|#region)")


def python_docstring(literal: str) -> str:
    """The text of a Python docstring, given as it stands in the source, quotes included."""
    match = _STRING.match(literal)
    return inspect.cleandoc(match.group(2)) if match else ""


def comment_before(source: bytes, start: int, language: str) -> tuple[str, int]:
    """The comment block that ends on the line before byte `start`: (its text without marks, its first byte).

    ("", start) when there is none, when a blank line lies between, or when it trails code on its line.
    """
    line = _line_start(source, start)
    if source[line:start].strip():
        return "", start  # code before the definition on its own line
    above = source[:line].rstrip(b"\r\n \t")
    if source[len(above) : line].count(b"\n") != 1:
        return "", start
    if above.endswith(b"*/") and language != "ruby":
        return _block(source, above, start)
    return _lines(source, line, start, _LINE_MARKS.get(language, ("//",)))


def _block(source: bytes, above: bytes, start: int) -> tuple[str, int]:
    opening = above.rfind(b"/*")
    if opening < 0 or source[_line_start(source, opening) : opening].strip():
        return "", start
    text = above[opening + 2 : -2].decode("utf-8", "replace").strip("*!")
    return inspect.cleandoc(_STAR.sub("", text.replace("\r", ""))).strip(), opening


def _lines(source: bytes, line: int, start: int, marks: tuple[str, ...]) -> tuple[str, int]:
    texts, first = [], start
    while line > 0:
        previous = _line_start(source, line - 1)
        raw = source[previous : line - 1].decode("utf-8", "replace").strip()
        mark = next((mark for mark in marks if raw.startswith(mark)), None)
        if mark is None:
            break
        texts.append(raw.lstrip(mark[0]).removeprefix("!").removeprefix(" ").rstrip())
        first, line = source.find(mark.encode(), previous), previous
    texts = [text for text in reversed(texts) if not _DIRECTIVE.match(text)]
    return "\n".join(texts).strip(), first


def _line_start(source: bytes, position: int) -> int:
    return source.rfind(b"\n", 0, position) + 1
