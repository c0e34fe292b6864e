"""Splits a docstring of any convention into blocks: paragraphs, parameters, results, errors and code.

One reader goes over the lines once and knows the marks of all line-based conventions: Javadoc, JSDoc and TSDoc, PHPDoc,
Doxygen, kernel-doc and gtk-doc, godoc, RDoc, YARD and TomDoc, reST, Google and NumPy docstrings. Where a mark means
different things in two languages, the reader checks the language. C#'s XML has its own reader (docxml.py). Both readers
take time linear in the text, which is cut at MAX_CHARACTERS. docreader.py reads code, doctags.py tags, and docsections.py
sections.
"""

import re
from functools import lru_cache

from codesage.corpus.pairs.declarations import is_signature, may_begin_signature
from codesage.corpus.pairs.docreader import INDENTED_CODE, ITEM, UNDERLINE, Block, indent
from codesage.corpus.pairs.docsections import SectionReader
from codesage.corpus.pairs.doctags import TagReader
from codesage.corpus.pairs.docxml import is_xml, read_xml
from codesage.corpus.pairs.sentences import breaks_sentence

_MOST_SIGNATURE_LINES = 8
MAX_CHARACTERS = 20_000  # read of a docstring
_SIGNATURE_LINE = re.compile(
    r"[\w.:*\[\]]{1,100}\s?\([^()]{0,300}(?:\([^()]{0,80}\)[^()]{0,100})?\)\s*(?:->\s*[^,;()]{0,60}(?:\([^()]{0,200}\)[^,;()]{0,60})?|[:;]?)$"
)
_FIELD = re.compile(r":(\w+)(?:[ \t]+([^:]{0,120}))?:(?=\s|$)\s*(.*)$", re.DOTALL)
_LABELLED = re.compile(r"(:?\w[\w?!]{0,60})\s?::\s+(?=\S)")  # an option in a list of RDoc
_FENCE = re.compile(r"(`{3,}|~{3,})\s*\{?\.?([\w#+-]*)")
_ITEM = re.compile(r"(?:[-*+•o]|(\d{1,2})[.)]|\([a-z\d]{1,2}\)|[a-z]\))\s+(?=\S)")
_CODE_MARKS = ("```", "~~~", ">>>", "::", "..", "|[")  # every other block of code begins with one of them, or with a tag
_INDENTED_MARKS = (*_CODE_MARKS, "\n ", "\n\t", "> ", ">\t")  # the last two: behind a tag that ends a paragraph
_CODE_TAGS = [  # each begins with a literal, which re finds fast
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"<(?:code|example|pre|script)",
        r"@(?<!\{@)!?(?:code|example|verbatim)",
        r"\\!?(?:code|example|verbatim)",
    )
]
_HEADING = re.compile(r"(?:#{1,6}|={1,6})\s+\S|h[1-6]\.\s")
_NUMBERED_HEADING = re.compile(r"\d{1,2}(?:\.\d{1,2}){1,5} (?=[A-Z])(?:[^\s.]{1,30} ?){1,8}$")
_SENTENCE_STARTS = ("A ", "An ", "The ", "This ", "These ", "It ")
_PARAGRAPH_TAG = re.compile(
    r"</?p\s*/?>|<br\s*/?>\s*(?:<br\s*/?>|(?-i:(?=[A-Z@{])))|</?(?:ul|ol|dl|div|blockquote)(?:\s[^<>]{0,200})?>|<hr\s*/?>",
    re.IGNORECASE,
)
_LINK_TARGET = re.compile(r"\[[^\[\]]{1,100}\]:\s*(?:https?:|\.{0,2}/|#)\S*$")
_LIST_TAG = re.compile(r"<(?:li|dt|dd)>", re.IGNORECASE)
_LAST_TAG_ENDS = {"c", "ruby", "python"}  # languages in which a blank line ends a tag's text; elsewhere the next tag does


@lru_cache(maxsize=1024)  # summary, description and examples of a docstring use its blocks in turn
def blocks_of(docstring: str, language: str) -> tuple[Block, ...]:
    """The blocks of a docstring without comment marks, in source order; unknown tags and tables are left out."""
    text = docstring[:MAX_CHARACTERS].expandtabs(4).replace("\r", "")
    if "\n" not in text and text[:1].isalpha() and ":" not in text and "<" not in text and text[1:2] != ")":
        return (Block("text", text.strip()),)  # two of five docstrings are such a line
    if "<" in text:
        if is_xml(text):
            return tuple(map(Block._make, read_xml(text)))
        if language != "python":
            text = _LIST_TAG.sub("\n- ", _PARAGRAPH_TAG.sub("\n\n", text))
    reader = _Reader(text.split("\n"), language)
    return tuple(reader.read())


def may_hold_code(docstring: str, language: str) -> bool:
    """Whether blocks_of can find code in a docstring. Plain prose needs no search for examples."""
    marks = _INDENTED_MARKS if language in INDENTED_CODE else _CODE_MARKS
    return any([mark in docstring for mark in marks]) or any([tag.search(docstring) for tag in _CODE_TAGS])


class _Reader(TagReader, SectionReader):
    """Reads the lines of a docstring into blocks."""

    def read(self) -> list[Block]:
        """Read all lines; each step consumes at least one."""
        position = 0
        while position < len(self.lines):
            position = self._step(position)
        self._open("text")
        return self.blocks

    def _step(self, at: int) -> int:
        line, stripped = self.lines[at], self.stripped[at]
        if not stripped:
            self._end_paragraph()
            return at + 1
        first = stripped[0]
        if first in "cC:" and stripped[:9].lower().lstrip(":").startswith("call-seq"):
            return self._until_blank(at)
        if self.language == "ruby" and ":: " in stripped and (label := _LABELLED.match(stripped)):
            self._open("param", label.group(1).lstrip(":"), stripped[label.end() :])
            return at + 1
        if not first.isalnum():
            after = self._marked(at, stripped, first)
            if after:
                return after
        elif (first.isdigit() or stripped[1:2] == ")") and self._is_item(at, stripped):
            return at + 1
        if self.language == "python" and (after := self._sectioned(at, line, stripped)):
            return after
        if ":" in stripped[:28] and (after := self._labelled(at, stripped)):
            return after
        if line[0] == " " and (self._is_indented_code(line) or self._is_code_below(at, line)):
            return self._indented(at, indent(line))
        return self._text(at, stripped)

    def _end_paragraph(self) -> None:
        """Close the open block at a blank line, unless its text continues below it."""
        if self.labelled and not self.texts and self.kind in ("param", "return"):
            return  # a label alone on its line, above its text
        in_section = self.section in ("param", "raise") and not self.numpy
        if not in_section and (self.labelled or self.language in _LAST_TAG_ENDS or self.kind in ("text", "lead")):
            self._open("text")

    def _text(self, at: int, stripped: str) -> int:
        """Read a line of prose or a heading above an underline. If it ends in `::`, the indented lines below are code."""
        heading = self.kind == "text" and not self.texts and len(stripped) < 80 and at + 1 < len(self.lines)
        if heading and UNDERLINE.match(self.stripped[at + 1]):
            return at + 2
        if stripped.endswith("::"):
            self.texts.append(stripped[:-1])
            after = at + 1
            while after < len(self.lines) and not self.stripped[after]:
                after += 1
            if after < len(self.lines) and indent(self.lines[after]) > indent(self.lines[at]):
                return self._indented(after, indent(self.lines[at]) + 1)
            return at + 1
        if self.kind == "text":
            if not self.texts:
                if stripped[0].isdigit() and self._is_numbered_heading(at):
                    return at + 1
                signature = (stripped[-1] in ");:" or "->" in stripped) and _SIGNATURE_LINE.match(stripped)
                after = at + 1 if signature else self._after_signature(at)
                if after and self._prose_follows(after - 1):
                    return after
            elif stripped[0].isupper():
                self._end_sentence(stripped)
        self.texts.append(stripped)
        return at + 1

    def _is_numbered_heading(self, at: int) -> bool:
        """Whether a line is the title of a section ("6.4.1.2 Data Stage") right above a sentence."""
        below = self.stripped[at + 1] if at + 1 < len(self.lines) else ""
        return below.startswith(_SENTENCE_STARTS) and _NUMBERED_HEADING.match(self.stripped[at]) is not None

    def _after_signature(self, at: int) -> int:
        """The number of the line after a signature that begins at a line and may fill several; 0 if none begins there."""
        first = self.stripped[at]
        if not may_begin_signature(first):
            return 0
        joined = ""
        for after in range(at, min(at + _MOST_SIGNATURE_LINES, len(self.lines))):
            joined = f"{joined} {self.stripped[after]}".lstrip()
            if "(" in joined and joined.count("(") == joined.count(")"):
                if self.stripped[after + 1 : after + 2] and self.stripped[after + 1].startswith("throws "):
                    continue
                return after + 1 if joined[-1] != "{" and is_signature(joined) else 0  # else the code itself follows
            if not self.stripped[after] or (after > at and "(" not in joined):
                return 0
        return 0

    def _prose_follows(self, at: int) -> bool:
        """Whether the next line is prose."""
        return at + 1 < len(self.lines) and self.stripped[at + 1][:1].isalpha()

    def _end_sentence(self, following: str) -> None:
        """Add a full stop to the line before `following` if the line break seems to end a sentence."""
        if breaks_sentence(self.texts[-1], following):
            self.texts[-1] += "."

    def _is_item(self, at: int, stripped: str) -> bool:
        """Open a block if the line begins a list item; returns whether it does. Numbered items must count up from 0 or 1."""
        match = _ITEM.match(stripped) if self.kind == "text" else None
        if match is None or self._is_indented_code(self.lines[at]):
            return False
        if match.group(1) and int(match.group(1)) not in (0, 1, self.number + 1):
            return False
        self.number = int(match.group(1) or 0)
        self._open("text", ITEM, stripped[match.end() :])
        return True

    def _marked(self, at: int, stripped: str, first: str) -> int:
        """Read a line that begins with a mark: code, tag, field, directive, list item, table. Returns 0 for any other line."""
        if first in "`~" and (match := _FENCE.match(stripped)):
            return self._fenced(at, match.group(1), match.group(2))
        if first == ">" and stripped.startswith(">>>"):
            return self._doctest(at)
        if first in "@\\":
            return self._tagged(at, stripped)
        if first == ":" and (match := _FIELD.match(stripped)):
            return self._field(at, *match.groups(""))
        if first == "." and stripped.startswith(".. "):
            return self._directive(at, stripped)
        if first == "<" and stripped[:8].lower().startswith(("<pre", "<code>", "<script", "<example")):
            return self._pre(at, stripped)
        if first == "|" and stripped.startswith("|["):
            return self._until(at, "]|")
        return self._left_out(at, stripped, first) or (at + 1 if self._is_item(at, stripped) else 0)

    def _left_out(self, at: int, stripped: str, first: str) -> int:
        """Skip a ruler, heading, table or link target, which are not text. Returns 0 for any other line."""
        if UNDERLINE.match(stripped) or (first in "|+" and stripped[-1] in "|+"):
            self._open(self.kind)
            return at + 1
        if _HEADING.match(stripped) and not self.texts:
            return at + 1
        if first == "<" and stripped[:3].lower() in ("<h1", "<h2", "<h3", "<h4", "<h5", "<h6"):
            return at + 1
        if first == "<" and stripped[:6].lower() == "<table":
            return self._table(at)
        if first == "[" and _LINK_TARGET.match(stripped):
            return at + 1
        return 0

    def _table(self, at: int) -> int:
        """Skip an HTML table."""
        self._open(self.kind)
        after = at
        while after < len(self.lines) and "</table" not in self.stripped[after].lower():
            after += 1
        return after + 1
