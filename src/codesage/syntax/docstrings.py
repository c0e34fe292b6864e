"""Finds the comment or string that documents a definition, and removes its marks.

In Python the docstring is the first statement of the body. In the other eight languages it is the block of comments that ends
on the line before the definition. A blank line between the two detaches the comment. There may be directives between them,
and a plain comment below a documentation comment (`/** ... */`). preprocessor.py handles preprocessor conditions.
"""

import re
import unicodedata
from collections import Counter
from typing import NamedTuple

from codesage.syntax.directives import is_block_directive, is_directive, is_glued_directive, without_directives

_PLAIN_STRING = re.compile(r"""[rRuU]?("{3}|'{3}|"|')(.*)\1$""", re.DOTALL)
_STRING = re.compile(
    r"""([A-Za-z]*)("{3}(?:(?>[^"\\]+)|\\.|"(?!""))*"{3}|'{3}(?:(?>[^'\\]+)|\\.|'(?!''))*'{3}"""
    r"""|"(?:(?>[^"\\\n]+)|\\.)*"|'(?:(?>[^'\\\n]+)|\\.)*')""",
    re.DOTALL,
)
_BETWEEN_STRINGS = re.compile(r"(?:[\s()]+|\\\n|#[^\n]*)*")
_ESCAPE = re.compile(
    r"""\\(?:([\n\\'"abfnrtv])|([0-7]{1,3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|N\{([^{}]{1,99})\})"""
)
_ESCAPED = {"\n": "", "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

_LINE_MARKS = {"ruby": (b"#",), "php": (b"//", b"#")}
_LINE_MARK = re.compile(r"(?:///+|//!)<(?=\s)|//+!?|#+(?:!(?!/))?")
_DOCUMENTING_LINES = {"c": re.compile(r"//[/!](?!/)"), "csharp": re.compile(r"///(?!/)"), "java": re.compile(r"///(?!/)")}
_NO_DOCUMENTING_BLOCKS = {"go", "ruby"}  # in the other languages "/**" is documentation and "/*" a note
_BETWEEN = {  # lines of code allowed between documentation and definition
    "c": re.compile(rb"#\s*pragma\b|(?:__attribute__|__declspec|SEC)\s*\(.*\)$|\[\[.*\]\]$"),
    "csharp": re.compile(rb"#\s*(?:if|pragma|nullable|region|line)\b"),
    "ruby": re.compile(rb"(?:T::Sig::WithoutRuntime\.)?sig(?:\s*\(.*\))?\s*(?:\{.*\}|do\b.*\bend)$"),
}
_SIGNATURE = re.compile(rb"(?:T::Sig::WithoutRuntime\.)?sig(?:\s*\(.*\))?\s*(?:\{|do)$")  # the first line of one on several
_ECMA_TAGS = ("@typedef", "@callback", "@file", "@overview")
_DOXYGEN_TAGS = ("file", "defgroup", "addtogroup", "weakgroup", "page", "mainpage", "dir")
_OTHER_TAGS = {
    "javascript": _ECMA_TAGS,
    "typescript": _ECMA_TAGS,
    "php": ("@file",),
    "c": tuple(f"{mark}{tag}" for mark in "@\\" for tag in _DOXYGEN_TAGS),
}
_OTHER = {  # blocks that document a file, a group of definitions, or a type that is in the block itself
    language: re.compile(rf"^[ \t*!]*(?:{'|'.join(map(re.escape, tags))})(?:overview)?(?!\w)", re.MULTILINE)
    for language, tags in _OTHER_TAGS.items()
}
_OPENINGS = 16  # number of "/*" inside a comment ("src/*.js") to skip before giving up
_INNER_OPENING = re.compile(r"(\n[ \t]*)/\*")  # in a comment, at the start of a line: "/*" there is a mark like "*"
_OPENING = re.compile(
    r"[*!]*(?:<|%<?|\+\+(?=\s)|[-+](?=[\s-]|$)|@[A-Z]{0,2}(?=\s)|[EJMS]C?(?=[ \t]*\n))?"
)  # the last two are PETSc's
_STAR = re.compile(r"\n[ \t]*\*(?!\*) ?")
_STARS = re.compile(r"[ \t]*(\*+)")
_NAME_LINE = re.compile(r".*\n( *)- (.*)\n\1\*")  # " - name - what it does", while the other lines have " * "
_FLUSH = re.compile(r"\n\S")
_RULER_PARTS = ("---", "===", "***", "###", "~~~", "___", "///", "- - ", "* * ", "= = ", "-=-", "=-=", "*-*", "-*-", "=*=")
_RULER_PART = re.compile("|".join(map(re.escape, _RULER_PARTS)))
_RULER = re.compile(r"(?!~{3,9}$)(?:[-=*#~_/][ \t]?){3,}$")
_TITLE = re.compile(  # a title in a ruler: "==== Title ====", "---- Title", "Title ----"
    r"(?:[-*~/]{3,}\s+|[-*~/]{4,}|[=#]{7,})\s*(\w.*?)\s*[-=*#~/]*$|[-=*#~/]{2,}\s+(\w.*?)\s+[-=*#~/]{3,}$"
    r"|(\w.*?)\s+[-=*#~/]{4,}$"
)
_LONGEST_TITLE = 200  # characters; the pattern takes quadratic time
_NEW_LINE = ord("\n")
_GLUED_MARKS = tuple(":*-|>~")  # signs that some projects write behind the mark of every line: "#:"
_WIDEST_MARK = 2
_LEFT_SIDES = ("--", ";", "::", ">", "%")  # signs that some projects write before every line of a block comment
_SIDES = ("//", "#")  # marks at the right of a box of line comments
_ONE_LINE_BLOCK = re.compile(rb"[ \t]*/\*(.*)\*/[ \t]*$")


class _Comment(NamedTuple):
    text: str
    first: int  # byte
    documents: bool  # whether its mark is that of documentation: "/**", not "/*"


def python_docstring(literal: str) -> str:
    """The text of a Python docstring, as inspect.getdoc returns it. `literal` is its source: one or more string literals.

    Returns "" for expressions that are not docstrings in Python, such as bytes and f-strings. The escape of a lone surrogate
    is left as it is, because a file cannot contain that character.
    """
    match = _PLAIN_STRING.match(literal)
    if match and match.group(1) not in match.group(2):
        return _cleaned(_unescaped(match.group(2)) if literal[0] not in "rR" else match.group(2))
    parts, position = [], _end(_BETWEEN_STRINGS, literal)
    while match := _STRING.match(literal, position):
        prefix, quoted = match.groups()
        if prefix.lower() not in ("", "r", "u"):
            return ""
        width = 3 if quoted[:3] in ('"""', "'''") else 1
        parts.append(quoted[width:-width] if prefix in ("r", "R") else _unescaped(quoted[width:-width]))
        position = _end(_BETWEEN_STRINGS, literal, match.end())
    return _cleaned("".join(parts)) if position == len(literal) else ""


def _end(pattern: re.Pattern[str], text: str, start: int = 0) -> int:
    """The end of the match of `pattern` at `start`, or `start` if there is none."""
    match = pattern.match(text, start)
    return start if match is None else match.end()


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _character(match: re.Match) -> str:
    one, octal, *hexadecimal, name = match.groups("")
    if one:
        return _ESCAPED.get(one, one)
    if name:
        try:
            return unicodedata.lookup(name)
        except KeyError:
            return match.group()
    code = int(octal, 8) if octal else int("".join(filter(None, hexadecimal)), 16)
    return match.group() if 0xD800 <= code < 0xE000 or code > 0x10FFFF else chr(code)


def comment_before(source: bytes, start: int, language: str) -> tuple[str, int]:
    """The comment that documents the definition at byte `start`. Returns (its text without marks, its first byte).

    If there is none, returns "" and the first byte of the directives above the definition, or `start`. A comment does not
    count if a blank line separates it from the definition, or if there is code before the definition on its line.
    """
    line, comment, first = _line_start(source, start), None, start
    if line != start and (before := source[line:start].strip()):
        return _block_on_line(source, start, language) if before.endswith(b"*/") else ("", start)
    if line < 2 or source[line - 2] == _NEW_LINE:  # mostly there is a blank line above
        return "", start
    while (above := _above(source, line, language)) is not None:
        if above.text:
            if comment is not None and not above.documents:
                break
            comment = above
            if above.documents or language in _NO_DOCUMENTING_BLOCKS:
                break
        elif comment is None:
            first = above.first
        line = _line_start(source, above.first)
    return (comment.text, comment.first) if comment is not None else ("", first)


def comment_above_body(source: bytes, start: int, opening: int) -> tuple[str, int]:
    """The C comment `/*++ ... --*/` between the parameters and the body, as (its text without marks, its first byte).

    If there is none between byte `start` and the body, which starts at byte `opening`, returns "" and `opening`.
    """
    first = source.find(b"/*++", start, opening)
    end = source.rfind(b"*/", first, opening) + 2 if first >= 0 else opening
    comment = _block(source, end, "c") if first >= 0 and end > first + 2 and not source[end:opening].strip() else None
    return (comment.text, first) if comment is not None and comment.first == first else ("", opening)


def _block_on_line(source: bytes, start: int, language: str) -> tuple[str, int]:
    """The documentation block that ends on the line of the definition at byte `start`; a plain block is a note there.

    Before the block there may only be white space, or text that ends with an opening brace: `class A { /** Adds. */ f() {`.
    """
    end = source.rindex(b"*/", 0, start) + 2
    comment = _block(source, end, language) or _behind_brace(source, end, language)
    return (comment.text, comment.first) if comment is not None and comment.documents and comment.text else ("", start)


def _behind_brace(source: bytes, end: int, language: str) -> _Comment | None:
    """The documentation block that ends before byte `end`, if it is behind an opening brace on its line."""
    opening = source.rfind(b"/*", max(_line_start(source, end), source.rfind(b"*/", 0, end - 2)), end)
    if opening < 0 or not source[_line_start(source, opening) : opening].rstrip().endswith(b"{"):
        return None
    text = source[opening + 2 : max(end - 2, opening + 2)].decode("utf-8", "replace")
    return _Comment(_joined(_block_lines(text), language), opening, _documents(text, language))


def _above(source: bytes, line: int, language: str) -> _Comment | None:
    """The comment that ends above the line that starts at byte `line`. Its text is "" if it is only for tools."""
    marks, between = _LINE_MARKS.get(language, (b"//",)), _BETWEEN.get(language)
    while line > 0:
        previous = _line_start(source, line - 1)
        code = source[previous : line - 1].strip()
        if code.startswith(marks) and not code.startswith(b"#["):  # the latter is a PHP attribute
            return _lines(source, line, marks, language)
        if language == "ruby":
            if source.startswith(b"=end", previous):
                return _begin_end(source, previous)
        elif code.endswith(b"*/") and (comment := _block(source, source.rindex(b"*/", 0, line) + 2, language)) is not None:
            return comment
        if language == "ruby" and code in (b"end", b"}"):
            previous = _signature(source, previous)
            if previous < 0:
                return None
        elif between is None or not between.match(code):
            return None
        line = previous
    return None


def _signature(source: bytes, last: int) -> int:
    """The start of Sorbet's signature (`sig do`) whose last line starts at byte `last`; -1 if the line ends other code."""
    line, column = last, _indentation(source, last)
    while line > 0:
        end, line = line - 1, _line_start(source, line - 1)
        code = source[line:end].strip()
        if code and (indentation := _indentation(source, line)) <= column:
            return line if indentation == column and _SIGNATURE.match(code) else -1
    return -1


def _lines(source: bytes, line: int, marks: tuple[bytes, ...], language: str) -> _Comment:
    """The adjacent line comments above the line that starts at byte `line`, as one comment."""
    top = first = line
    while top > 0:
        previous = _line_start(source, top - 1)
        comment = source[previous:top].lstrip()
        if not comment.startswith(marks) or comment.startswith(b"#["):
            break
        top, first = previous, top - len(comment)
    if _continues(source, first, marks):
        column, continued = first - top, first
        while top < line and _indentation(source, top) == column:
            top = source.index(b"\n", top) + 1
        if top == line:
            return _Comment("", continued, False)
        first = top + _indentation(source, top)
    comments = [each.strip() for each in source[top : line - 1].decode("utf-8", "replace").split("\n")]
    rests = [(each, each[_end(_LINE_MARK, each) :]) for each in comments]
    rests = [(each, rest) for each, rest in rests if not (is_directive(rest, language) or is_glued_directive(rest, language))]
    documenting = _DOCUMENTING_LINES.get(language)
    documents = documenting is not None and any([documenting.match(each) for each, _ in rests])
    kept = [rest for each, rest in rests if documenting is None or not documents or documenting.match(each)]
    if any([rest.endswith(_SIDES) for rest in kept]):
        kept = _without_right_side(kept)
    if kept and kept[0][:1] in _GLUED_MARKS:
        kept = _without_glued_mark(kept)
    texts = [rest.removeprefix(" ") for rest in kept]
    if language == "ruby":
        texts = _shown(texts)
    texts = _without_rulers(texts)
    margin = min([len(text) - len(text.lstrip(" ")) for text in texts if text], default=0)
    return _Comment("\n".join([text[margin:] for text in texts]).strip("\n"), first, documents)


def _without_glued_mark(lines: list[str]) -> list[str]:
    """The lines of a line comment without a sign behind the mark of each line: "#: Text", "//* Text"."""
    mark = lines[0].partition(" ")[0].rstrip()
    if not 0 < len(mark) <= _WIDEST_MARK or mark.strip(mark[0]):
        return lines
    inked = [line for line in lines if line.strip()]
    return [line.removeprefix(mark) for line in lines] if all([line.split()[0] == mark for line in inked]) else lines


def _without_right_side(lines: list[str]) -> list[str]:
    """The lines of a box of line comments without its right side, if each line ends with the same mark: "// Text. //"."""
    inked = [bare for line in lines if (bare := line.strip()) and not _RULER.match(bare)]
    for side in _SIDES:
        if inked and all([line.endswith(side) and _is_side(line, side) for line in inked]):
            return [line if _RULER.match(line.strip()) else line.rstrip(side[0]).rstrip() for line in lines]
    return lines


def _is_side(line: str, side: str) -> bool:
    """Whether the mark at the end of a line is not a part of its last word, as in "C#" and "http://"."""
    text = line.rstrip(side[0])
    return not text.endswith(":") if side == "//" else not text[-1:].strip()


def _continues(source: bytes, first: int, marks: tuple[bytes, ...]) -> bool:
    """Whether the comment at byte `first` continues one that stands behind code, in the same column of the line above."""
    line = _line_start(source, first)
    if line in (0, first):
        return False
    above = source[_line_start(source, line - 1) : line - 1]
    if not any([mark in above for mark in marks]):
        return False
    for width in (8, 4):
        column, text = len(source[line:first].expandtabs(width)), above.decode("utf-8", "replace").expandtabs(width)
        if text[:column].strip() and text[column:].encode().startswith(marks):
            return True
    return False


def _shown(texts: list[str]) -> list[str]:
    """Lines of an RDoc comment without the parts hidden between `--` and `++`; all lines if nothing else is left."""
    shown, hidden = [], False
    for text in texts:
        if text in ("--", "++"):
            hidden = text == "--"
        elif not hidden:
            shown.append(text)
    return shown or [text for text in texts if text not in ("--", "++")]


def _block(source: bytes, end: int, language: str) -> _Comment | None:
    """The block comment that ends before byte `end`, or None if there is other text before it on its first line."""
    opening = _opening(source, end)
    if opening < 0:
        return None
    text = source[opening + 2 : max(end - 2, opening + 2)].decode("utf-8", "replace")
    if "\n" in text and "/*" in text:
        text = _INNER_OPENING.sub(r"\1 *", text)
    documents, texts, first = _documents(text, language), [text], opening
    if not documents and "\n" not in text:
        above, first = _one_line_blocks(source, opening, language)
        texts = [*above, text]
    if _continues(source, first, (b"/*",)):
        return _Comment("", first, False)
    if documents:
        text = "" if _is_of_other(text, language) else _joined(_block_lines(text), language)
        return _Comment(text, opening, True)
    lines = [line for text in texts if not is_block_directive(text.lstrip(), language) for line in _block_lines(text)]
    return _Comment(_joined(lines if len(texts) == 1 else ["", *lines], language), first, False)


def _opening(source: bytes, end: int) -> int:
    """The first byte of the block comment that ends before byte `end`, or -1 if there is other text before it on its line.

    Comments do not nest: of several "/*" at the start of a line behind the last "*/", the first one begins the comment.
    """
    floor = max(source.rfind(b"*/", 0, end - 2), 0)
    found, opening = -1, end - 1
    for _ in range(_OPENINGS):
        opening = source.rfind(b"/*", floor, opening)
        if opening < 0:
            break
        if not source[_line_start(source, opening) : opening].strip():
            found = opening
    return found


def _documents(text: str, language: str) -> bool:
    """Whether the mark of a block comment is that of documentation, in a language that also has a mark for notes."""
    if language in _NO_DOCUMENTING_BLOCKS or not text.startswith(("*", "!")):
        return False
    return text[1:2] != "*" and (text[0] == "*" or language == "c")


def _is_of_other(text: str, language: str) -> bool:
    """Whether a block of documentation is, by its tags, not about the definition below it."""
    tags = _OTHER_TAGS.get(language, ())
    return any([tag in text for tag in tags]) and _OTHER[language].search(text) is not None


def _one_line_blocks(source: bytes, opening: int, language: str) -> tuple[list[str], int]:
    """The one-line block comments directly above byte `opening` in the same column, and their first byte."""
    line, texts = _line_start(source, opening), []
    column = opening - line
    while line > 0:
        previous = _line_start(source, line - 1)
        match = _ONE_LINE_BLOCK.match(source, previous, line - 1)
        if match is None or match.start(1) - 2 - previous != column or b"*/" in match[1]:
            break
        text = match[1].decode("utf-8", "replace")
        if _documents(text, language):
            break
        texts.append(text)
        line = previous
    return texts[::-1], line + column


def _block_lines(text: str) -> list[str]:
    """The lines between "/*" and "*/", without these marks and without the mark before each line."""
    start = _end(_OPENING, text)
    opening, text = text[:start], text[start:].rstrip("*").rstrip()
    if opening[-1:] == "@" or opening[-1:].isupper():
        text = text.removesuffix("@" if "@" in opening else opening.lstrip("*!")[:1]).rstrip()
    elif opening.endswith("++"):
        text = text.removesuffix("--").rstrip()
    bare, count = _STAR.subn("\n", text)
    lines = bare.split("\n")
    return lines if count == len(lines) - 1 else _without_stars(text.split("\n"))


def _joined(lines: list[str], language: str) -> str:
    """The text of a block comment with these lines, without directives, boxes, rulers and common indentation."""
    lines = _without_edges(without_directives(lines, language))
    return _cleaned("\n".join(_without_rulers(lines))).strip()


def _without_stars(lines: list[str]) -> list[str]:
    """The lines, without marks, of a block comment in which some line does not begin with exactly one star.

    Either the stars are marks, of the width that most of them have ("** " in some projects), or they are those of a list.
    Stars of a list are not further left than the text above them.
    """
    lines = [line.expandtabs() for line in lines]
    if (first := _NAME_LINE.match("\n".join(lines))) is not None:
        lines[1] = f"{first[1]}* {first[2]}"
    stars = [_STARS.match(line) for line in lines]
    inked = [(line, star) for line, star in zip(lines[1:], stars[1:], strict=True) if line.strip()]
    marks = [star for _, star in inked if star]
    if not marks or (inked[0][1] is None and marks[0].start(1) >= len(inked[0][0]) - len(inked[0][0].lstrip())):
        return lines
    free = Counter(len(star[1]) for star in marks if not star.string[star.end() :][:1].strip())
    width = max(sorted(free), key=free.__getitem__, default=int(min(len(star[1]) for star in marks) == 1))
    margin = marks[0].start(1) + width + 1  # column of the text
    bare = [
        line[star.start(1) + min(width, len(star[1])) :].removeprefix(" ")
        if star
        else line[min(margin, len(line) - len(line.lstrip())) :]
        for line, star in zip(lines[1:], stars[1:], strict=True)
    ]
    return [lines[0], *bare]


def _without_edges(lines: list[str]) -> list[str]:
    """The lines of a box without its sides. A side is the same mark on every line."""
    top = next((bare for line in lines if (bare := line.strip()) and not _RULER.match(bare)), "")
    if top.startswith(_LEFT_SIDES):
        return _without_left_side(lines)
    if not top or (top[0] not in "|#/" and top[-1] not in "*|#"):
        return lines
    inked = [bare for line in lines if (bare := line.strip()) and not _RULER.match(bare)]
    last = top[-1]
    if last in "*|#" and all([line[-1] == last and not line[-2:-1].strip() for line in inked]) and len(lines) > 1:
        lines = [line.rstrip().removesuffix(last).rstrip() for line in lines]
    first = "//" if top.startswith("//") else top[0]
    if first in ("|", "#", "//") and len(inked) > 1 and all([line.startswith(first) for line in inked]):
        lines = [line.lstrip().removeprefix(first).removeprefix(" ") for line in lines]
    return lines


def _without_left_side(lines: list[str]) -> list[str]:
    """The lines without the first word, if it is the same sign on each of two or more lines."""
    inked = [bare for line in lines if (bare := line.strip()) and not _RULER.match(bare)]
    mark = inked[0].split()[0]
    if len(inked) < 2 or mark not in _LEFT_SIDES or not all([line.split()[0] == mark for line in inked]):
        return lines
    return [line.lstrip().removeprefix(mark).removeprefix(" ") for line in lines]


def _without_rulers(lines: list[str]) -> list[str]:
    """Lines without rulers, except those that underline a heading within the text."""
    if not _RULER_PART.search("\n".join(lines)):
        return lines
    kept: list[str] = []
    for line in lines:
        bare = line.strip()
        if _RULER.match(bare):
            kept.append(line if _is_underline(bare, kept) else "")
        else:
            title = _TITLE.match(bare) if len(bare) <= _LONGEST_TITLE else None
            kept.append(line if title is None else title[title.lastindex or 0])
    while kept and (not kept[-1].strip() or _RULER.match(kept[-1].strip())):
        kept.pop()
    return kept


def _is_underline(ruler: str, above: list[str]) -> bool:
    """Whether a ruler is about as long as the line above it, and that line stands alone."""
    alone = bool(above) and bool(above[-1].strip()) and not "".join(above[-2:-1]).strip()
    return alone and abs(len(ruler) - len(above[-1].strip())) <= 2


def _cleaned(text: str) -> str:
    """The same as inspect.cleandoc in half the time: lines are only measured if all of them are indented."""
    text = text.expandtabs()
    first, broken, rest = text.partition("\n")
    if broken and not _FLUSH.search(text):
        lines = rest.split("\n")
        margin = min([len(line) - len(line.lstrip()) for line in lines if line.strip()], default=0)
        rest = "\n".join([line[margin:] for line in lines])
    return f"{first.lstrip()}{broken}{rest}".strip("\n")


def _begin_end(source: bytes, end: int) -> _Comment | None:
    """Ruby's block comment from `=begin` to `=end`, both at the start of a line; `end` is the first byte of `=end`."""
    opening = source.rfind(b"=begin", 0, end)
    if opening < 0 or _line_start(source, opening) != opening or b"\n=end" in source[opening : end - 1]:
        return None
    first = source.find(b"\n", opening, end)
    lines = source[first + 1 : end].decode("utf-8", "replace").split("\n") if first >= 0 else []
    return _Comment(_joined(["", *_shown(lines)], "ruby"), opening, False)


def _line_start(source: bytes, position: int) -> int:
    return source.rfind(b"\n", 0, position) + 1


def _indentation(source: bytes, line: int) -> int:
    """The number of blanks at the start of the line that starts at byte `line`."""
    start = line
    while start < len(source) and source[start] in b" \t":
        start += 1
    return start - line
