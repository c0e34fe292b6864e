"""The base of the docstring readers: blocks, the state of one pass over the lines, and reading blocks of code."""

import html
import re
from typing import NamedTuple

from codesage.corpus.pairs.english import is_code

ITEM = "item"  # the name of a text block that is a list item

_ANNOTATION = re.compile(r"(?:\([\w -]{1,40}(?: [\w.*()-]{1,60})?\)\s?)+:\s*")  # gtk-doc: (transfer full):
_DIRECTIVE = re.compile(r"\.\.\s+(?:([\w:-]{1,40})::\s*(.*)|.*)$", re.DOTALL)
_CODE_DIRECTIVES = {"code-block", "code", "sourcecode", "ipython", "testcode", "highlight", "prompt"}
_TEXT_DIRECTIVES = {"note", "warning", "tip", "important", "caution", "hint", "attention", "admonition", "rubric"}
INDENTED_CODE = {"go": 1, "ruby": 2, "php": 4, "javascript": 4, "typescript": 4}  # columns of indentation that make a line code
_ENDS, _GOES_ON = tuple(".:!?"), tuple("=|/,(&+")  # ends of a sentence, and of a line whose code goes on
UNDERLINE = re.compile(r"([-=~^*#\"'+`_])\1{2,}$")


class Block(NamedTuple):
    """One piece of a docstring. `name` is that of the parameter or error, the language of a code fence, or ITEM in a list."""

    kind: str  # "text", "param", "return", "raise", "lead" (title of an example) or "code"
    text: str  # a paragraph on one line, or lines of code; still with markup
    name: str = ""


class BlockReader:
    """The state of one pass: the open block (kind, name, texts) and, in Python, the enclosing section."""

    def __init__(self, lines: list[str], language: str) -> None:
        self.lines, self.stripped, self.language = lines, list(map(str.strip, lines)), language
        self.blocks: list[Block] = []
        self.kind, self.name = "text", ""
        self.texts: list[str] = []
        self.section, self.section_indent, self.numpy = "", 0, False
        self.header_at, self.header_indent = 0, 0  # the line and the column of its header
        self.number = 0  # of the last numbered item
        self.labelled = False  # whether a label such as `Input:` opened the block
        self.header: bool | None = None  # whether the docstring is a header made of labels; None: not looked at

    def _open(self, kind: str, name: str = "", text: str = "") -> None:
        """Close the open block and open a new one."""
        if self.texts and self.kind != "skip" and (joined := " ".join(self.texts).strip()):
            self.blocks.append(Block(self.kind, joined, self.name))
        self.kind, self.name, self.texts, self.labelled = kind, name, [text] if text else [], False

    def _code(self, lines: list[str], language: str = "") -> None:
        code = dedented(lines)
        kind = self.kind if self.kind in ("text", "skip") else "text"
        self._open(kind)
        if code:
            self.blocks.append(Block("code", code, language))

    def _until(self, at: int, end: str) -> int:
        """Read the lines up to one that begins with `end` as code."""
        after = at + 1
        while after < len(self.lines) and not self.stripped[after].startswith(end):
            after += 1
        self._code(self.lines[at + 1 : after])
        return after + 1

    def _until_blank(self, at: int) -> int:
        self._open("text")
        after = at + 1
        while after < len(self.lines) and self.stripped[after]:
            after += 1
        return after

    def _fenced(self, at: int, fence: str, language: str) -> int:
        after = at + 1
        while after < len(self.lines) and not self.stripped[after].startswith(fence):
            after += 1
        self._code(self.lines[at + 1 : after], language.lower())
        return after + 1

    def _doctest(self, at: int) -> int:
        code, after = [], at
        while after < len(self.lines):
            stripped = self.stripped[after]
            if stripped.startswith((">>>", "...")):
                code.append(stripped[4:])
            elif not stripped:
                following = next((line.strip() for line in self.lines[after + 1 : after + 3] if line.strip()), "")
                if not following.startswith(">>>"):
                    break
            after += 1
        self._code(code, "python")
        return after

    def _pre(self, at: int, stripped: str) -> int:
        close = "</" + re.split(r"\W", stripped[1:], maxsplit=1)[0].lower()
        opened = stripped.partition(">")[2]
        if close in opened.lower():  # on one line
            return 0
        after, code = at + 1, [opened] if opened.strip() else []
        while after < len(self.lines) and close not in self.lines[after].lower():
            code.append(self.lines[after])
            after += 1
        if after < len(self.lines):
            code.append(self.lines[after][: self.lines[after].lower().find(close)])
        text = dedented(code).strip()
        if text.startswith("{@code"):
            text = text.removeprefix("{@code").removesuffix("}")
        text = re.sub(r"</?(?:code|span|b|i|em)\b[^<>]{0,80}>", "", text)
        self._code(html.unescape(text).split("\n"))
        return after + 1

    def _is_indented_code(self, line: str) -> bool:
        columns = INDENTED_CODE.get(self.language, 0)
        if not columns or self.kind != "text" or self.texts or indent(line) < columns:
            return False
        return bool(self.blocks)  # the first block is never code

    def _is_code_below(self, at: int, line: str) -> bool:
        """Whether a line right below a paragraph is code: it is deeper, and it looks like code or, in Go, begins anew."""
        columns = 1 if self.language == "ruby" else INDENTED_CODE.get(self.language, 0)
        if not columns or not self.texts or self.kind != "text" or self.name:
            return False
        if indent(line) - indent(self.lines[at - 1]) < columns or self.texts[-1][-1:] in _GOES_ON or "://" in line:
            return False
        if self.texts[-1][-1:] in _ENDS:
            return self.language == "go" or is_code(self.stripped[at])
        below = next((row.lstrip() for row in self.lines[at:] if indent(row) < indent(line)), "")
        return not below[:1].islower() and is_code(self.stripped[at])  # else the sentence ends below the code

    def _indented(self, at: int, columns: int) -> int:
        after = at
        while after < len(self.lines) and (not self.stripped[after] or indent(self.lines[after]) >= columns):
            after += 1
        self._code(self.lines[at:after])
        return after

    def _directive(self, at: int, stripped: str) -> int:
        match = _DIRECTIVE.match(stripped)
        name, rest = match.groups("") if match else ("", "")
        after = at + 1
        while after < len(self.lines) and (not self.stripped[after] or indent(self.lines[after]) > indent(self.lines[at])):
            after += 1
        if name in _CODE_DIRECTIVES:
            body = self.lines[at + 1 : after]
            while body and (not body[0].strip() or body[0].strip().startswith(":")):
                body = body[1:]
            self._code(body, rest.strip().lower())
            return after
        self._open("text", "", rest if name in _TEXT_DIRECTIVES and name != "rubric" else "")
        return at + 1 if name in _TEXT_DIRECTIVES else after


def indent(line: str) -> int:
    """The number of spaces before a line."""
    return len(line) - len(line.lstrip(" "))


def dedented(lines: list[str]) -> str:
    """The text of lines without their common indentation, trailing blanks, and empty lines around it."""
    margin = min((indent(line) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:].rstrip() for line in lines).strip("\n")


def without_annotation(text: str) -> str:
    """`text` without the gtk-doc annotations before it: "(transfer full): the name" becomes "the name"."""
    return text[match.end() :] if text[:1] == "(" and (match := _ANNOTATION.match(text)) else text
