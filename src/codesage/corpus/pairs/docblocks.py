"""A docstring to its blocks: paragraphs, parameters, results, errors, and code, whatever convention it is written in.

One reader goes over the lines once and knows the marks of all line-based conventions (Javadoc, JSDoc and TSDoc,
PHPDoc, Doxygen, kernel-doc and gtk-doc, godoc, RDoc, YARD and TomDoc, reST, Google and NumPy docstrings); marks that
mean different things in two languages look at the language. C#'s XML has a reader of its own (docxml.py). Both are
linear in the text, which is cut at MAX_CHARACTERS.
"""

import html
import re
from functools import lru_cache
from typing import NamedTuple

from codesage.corpus.pairs.docxml import is_xml, read_xml

# ruff: noqa: SIM905 - a word list is read, and counted over, as running text
MAX_CHARACTERS = 20_000  # of a docstring that are read
ITEM = "item"  # the name of a text block that is an item of a list


class Block(NamedTuple):
    """One piece of a docstring. `name`: of the parameter or error; the language a fence of code names; ITEM in a list."""

    kind: str  # "text", "param", "return", "raise", "lead" (title of an example) or "code"
    text: str  # a paragraph on one line, or lines of code; markup still in it
    name: str = ""


_KINDS = {
    tag: kind
    for kind, tags in (
        ("text", "brief short summary details remark remarks note description desc overview abstract classdesc"),
        ("param", "param params tparam typeparam arg argument property prop option key keyword attr var ivar cvar"),
        ("return", "return returns retval result yield yields yieldreturn"),
        ("raise", "throws throw exception raise raises except"),
        ("code", "example code verbatim"),
    )
    for tag in tags.split()
}
_SECTIONS = {
    header: kind
    for kind, headers in (
        ("param", "args,arguments,parameters,params,keyword args,keyword arguments,other parameters,attributes"),
        ("return", "returns,return,yields,yield"),
        ("raise", "raises,raise,throws,exceptions"),
        ("text", "note,notes,example,examples,usage,warning,warnings,details,description,remarks"),
        ("skip", "see also,references,todo,methods,warns,receives,author,authors"),
    )
    for header in headers.split(",")
}
_TAG = re.compile(r"[@\\]!?([\w-]+)(?:\[[^\]]{0,20}\])?(?=\s|$|:|\{|\.)\s*(.*)$", re.DOTALL)
_KERNEL_ARGUMENT = re.compile(r"@([\w.\->]+|\.\.\.)\s*:\s*(.*)$", re.DOTALL)
_C_SECTION = re.compile(r"([A-Za-z]{3,12}(?: [A-Za-z]{2,12})?)\s*:(?!:)\s*(.*)$", re.DOTALL)
_C_SECTIONS = {
    header: kind
    for kind, headers in (
        ("return", "return,returns,return value,return values,result,results,retval"),
        ("text", "note,notes,description,purpose,summary,abstract,synopsis,comment,comments,remarks,brief,desc"),
        ("param", "input,inputs,input parameter,input parameters,output,outputs,output parameter,output parameters,arguments,"
                  "args,parameter,parameters,params,in,out,options database"),
        ("skip", "context,locking,name,function,procedure,side effects,programmer,author,level,see also,modifications,date,"
                 "collective,usage,errors,history,file,module,version,since,fortran note,calling sequence"),
    )
    for header in headers.split(",")
}  # fmt: skip
_ONE_LINE_TAGS = frozenset(  # their text ends with their line: what follows is prose again
    "fn def struct class enum union typedef file name ingroup addtogroup defgroup weakgroup memberof relates relatesalso "
    "namespace "
    "package par private public protected static async abstract final readonly override virtual internal hideinitializer "
    "constructor "
    "interface if ifnot elseif else endif cond endcond nosubgrouping page section subsection subsubsection anchor mainpage api "
    "test beforeclass afterclass dataprovider group covers codecoverageignore runinseparateprocess hidden ignore inner method "
    "function memberof module category kind event alpha beta public experimental".split()
)
_SIGNATURE_LINE = re.compile(
    r"[\w.:*\[\]]{1,100}\s?\([^()]{0,300}(?:\([^()]{0,80}\)[^()]{0,100})?\)\s*(?:->\s*[^,;()]{0,60}(?:\([^()]{0,200}\)[^,;()]{0,60})?|[:;]?)$"
)
_ANNOTATION = re.compile(r"(?:\([\w -]{1,40}(?: [\w.*()-]{1,60})?\)\s?)+:\s*")  # of gtk-doc: (transfer full):
_SENTENCE_STARTS = frozenset(
    "This The Returns Return Note If It When Use Used For In By See Also Only Otherwise These There Throws Called Default "
    "Calls Takes Sets Gets".split()
)  # a line that begins with one, below a shorter one, begins a sentence
_NO_END = frozenset("a an the of to in on for with by from and or as at is are be that which this if when per via".split())
_WIDTH = 60  # columns that a line of running text fills at least
_FIELD = re.compile(r":(\w+)(?:[ \t]+([^:]{0,120}))?:(?=\s|$)\s*(.*)$", re.DOTALL)
_DIRECTIVE = re.compile(r"\.\.\s+(?:([\w:-]{1,40})::\s*(.*)|.*)$", re.DOTALL)
_CODE_DIRECTIVES = {"code-block", "code", "sourcecode", "ipython", "testcode", "highlight", "prompt"}
_TEXT_DIRECTIVES = {"note", "warning", "tip", "important", "caution", "hint", "attention", "admonition", "rubric"}
_FENCE = re.compile(r"(`{3,}|~{3,})\s*\{?\.?([\w#+-]*)")
_UNDERLINE = re.compile(r"([-=~^*#\"'+`_])\1{2,}$")
_ITEM = re.compile(r"(?:[-*+•o]|(\d{1,2})[.)]|\([a-z\d]{1,2}\)|[a-z]\))\s+(?=\S)")
_ENTRY = re.compile(r"(\*{0,2}[\w.]+(?:,\s*\*{0,2}\w+){0,5})\s*(?:\(.{0,200}?\))?\s*:(?=\s|$)\s*(.*)$", re.DOTALL)
_TYPED_ENTRY = re.compile(r"(\w{1,80}) \([^()]{0,200}(?:\([^()]{0,80}\)[^()]{0,80})?\):(?=\s|$)\s*(.*)$", re.DOTALL)
_INDENTED_CODE = {"go": 1, "ruby": 2, "php": 4, "javascript": 4, "typescript": 4}  # columns that make a line code
_CODE_MARKS = ("```", "~~~", ">>>", "::", "..", "<", "@", "\\")  # one of them begins every other block of code
_HEADING = re.compile(r"(?:#{1,6}|={1,6})\s+\S|h[1-6]\.\s")
_PARAGRAPH_TAG = re.compile(
    r"</?p\s*/?>|<br\s*/?>\s*(?:<br\s*/?>|(?-i:(?=[A-Z@{])))|</?(?:ul|ol|dl|div|blockquote)(?:\s[^<>]{0,200})?>|<hr\s*/?>",
    re.IGNORECASE,
)
_LINK_TARGET = re.compile(r"\[[^\[\]]{1,100}\]:\s*(?:https?:|\.{0,2}/|#)\S*$")
_LIST_TAG = re.compile(r"<(?:li|dt|dd)>", re.IGNORECASE)
_LAST_TAG_ENDS = {"c", "ruby", "python"}  # a blank line ends a tag's text; in the others the next tag does


@lru_cache(maxsize=1024)  # summary, description and examples of one docstring are asked for in a row
def blocks_of(docstring: str, language: str) -> tuple[Block, ...]:
    """The blocks of a docstring (comment marks already gone) in source order; unknown tags and tables are left out."""
    text = docstring[:MAX_CHARACTERS].expandtabs(4).replace("\r", "")
    if "\n" not in text and text[:1].isalpha() and ":" not in text and "<" not in text and text[1:2] != ")":
        return (Block("text", text.strip()),)  # two of five are such a line
    if "<" in text:
        if is_xml(text):
            return tuple(map(Block._make, read_xml(text)))
        if language != "python":
            text = _LIST_TAG.sub("\n- ", _PARAGRAPH_TAG.sub("\n\n", text))
    reader = _Reader(text.split("\n"), language)
    return tuple(reader.read())


def may_hold_code(docstring: str, language: str) -> bool:
    """Whether blocks_of can find code in a docstring: plain prose, as of most tests, need not be read for examples."""
    marks = (*_CODE_MARKS, "\n ", "\n\t") if language in _INDENTED_CODE else _CODE_MARKS
    return any([mark in docstring for mark in marks])


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _dedent(lines: list[str]) -> str:
    margin = min((_indent(line) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:].rstrip() for line in lines).strip("\n")


class _Reader:
    """The state of one pass: the open block (kind, name, texts) and, in Python, the section around it."""

    def __init__(self, lines: list[str], language: str) -> None:
        self.lines, self.stripped, self.language = lines, list(map(str.strip, lines)), language
        self.blocks: list[Block] = []
        self.kind, self.name, self.texts = "text", "", []
        self.section, self.section_indent, self.numpy = "", 0, False
        self.number = 0  # of the last numbered item

    def read(self) -> list[Block]:
        """Go over the lines; each step consumes at least one."""
        position = 0
        while position < len(self.lines):
            position = self._step(position)
        self._open("text")
        return self.blocks

    def _open(self, kind: str, name: str = "", text: str = "") -> None:
        """Close the open block, and open one."""
        if self.texts and self.kind != "skip" and (joined := " ".join(self.texts).strip()):
            self.blocks.append(Block(self.kind, joined, self.name))
        self.kind, self.name, self.texts = kind, name, [text] if text else []

    def _code(self, lines: list[str], language: str = "") -> None:
        code = _dedent(lines)
        kind = self.kind if self.kind in ("text", "skip") else "text"
        self._open(kind)
        if code:
            self.blocks.append(Block("code", code, language))

    def _step(self, at: int) -> int:
        line, stripped = self.lines[at], self.stripped[at]
        if not stripped:
            ends = self.language in _LAST_TAG_ENDS or self.kind in ("text", "lead")
            if self.section and not self.numpy and self.section in ("param", "raise"):
                ends = False
            if ends:
                self._open("text")
            return at + 1
        first = stripped[0]
        if first in "cC:" and stripped[:9].lower().lstrip(":").startswith("call-seq"):
            return self._until_blank(at)
        if not first.isalnum():
            after = self._marked(at, stripped, first)
            if after:
                return after
        elif (first.isdigit() or stripped[1:2] == ")") and self._is_item(at, stripped):
            return at + 1
        if self.language == "python" and (after := self._sectioned(at, line, stripped)):
            return after
        if self.language == "c" and ":" in stripped[:28] and (match := _C_SECTION.match(stripped)):
            kind = _C_SECTIONS.get(match.group(1).lower())
            if kind and (kind != "param" or not match.group(2)):
                self._open(kind, "", _without_annotation(match.group(2)))
                return at + 1
        if self._is_indented_code(at, line):
            return self._indented(at, _indent(line))
        return self._text(at, stripped)

    def _text(self, at: int, stripped: str) -> int:
        """A line of prose, or the heading above an underline; `::` at its end makes code of what is indented below."""
        heading = self.kind == "text" and not self.texts and len(stripped) < 80 and at + 1 < len(self.lines)
        if heading and _UNDERLINE.match(self.stripped[at + 1]):
            return at + 2
        if stripped.endswith("::"):
            self.texts.append(stripped[:-1])
            after = at + 1
            while after < len(self.lines) and not self.stripped[after]:
                after += 1
            if after < len(self.lines) and _indent(self.lines[after]) > _indent(self.lines[at]):
                return self._indented(after, _indent(self.lines[at]) + 1)
            return at + 1
        if self.kind == "text":
            if not self.texts:
                signature = (stripped[-1] in ");:" or "->" in stripped) and _SIGNATURE_LINE.match(stripped)
                if signature and self._goes_on(at):
                    return at + 1
            elif stripped[0].isupper():
                self._end_sentence(stripped)
        self.texts.append(stripped)
        return at + 1

    def _goes_on(self, at: int) -> bool:
        """Whether prose stands on the next line."""
        return at + 1 < len(self.lines) and self.stripped[at + 1][:1].isalpha()

    def _end_sentence(self, following: str) -> None:
        """Give the line before `following` a stop, where the line break seems to stand for it."""
        before = self.texts[-1]
        if len(before) >= _WIDTH or not (before[-1].isalnum() or before[-1] in ")`'\""):
            return
        if following.partition(" ")[0] in _SENTENCE_STARTS and before.rpartition(" ")[2].lower() not in _NO_END:
            self.texts[-1] = before + "."

    def _is_item(self, at: int, stripped: str) -> bool:
        """Whether a line begins an item of a list, which is then opened; numbers count from 1, one by one."""
        match = _ITEM.match(stripped) if self.kind == "text" else None
        if match is None or self._is_indented_code(at, self.lines[at]):
            return False
        if match.group(1) and int(match.group(1)) not in (0, 1, self.number + 1):
            return False
        self.number = int(match.group(1) or 0)
        self._open("text", ITEM, stripped[match.end() :])
        return True

    def _marked(self, at: int, stripped: str, first: str) -> int:
        """A line that begins with a mark: code, tag, field, directive, list item, table. 0: none of these."""
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
        if _UNDERLINE.match(stripped) or (first in "|+" and stripped[-1] in "|+"):
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
        return at + 1 if self._is_item(at, stripped) else 0

    def _until(self, at: int, end: str) -> int:
        """Take the lines up to one that begins with `end` as code."""
        after = at + 1
        while after < len(self.lines) and not self.stripped[after].startswith(end):
            after += 1
        self._code(self.lines[at + 1 : after])
        return after + 1

    def _table(self, at: int) -> int:
        """Leave out a table of HTML."""
        self._open(self.kind)
        after = at
        while after < len(self.lines) and "</table" not in self.stripped[after].lower():
            after += 1
        return after + 1

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
        text = _dedent(code).strip()
        if text.startswith("{@code"):
            text = text.removeprefix("{@code").removesuffix("}")
        text = re.sub(r"</?(?:code|span|b|i|em)\b[^<>]{0,80}>", "", text)
        self._code(html.unescape(text).split("\n"))
        return after + 1

    def _is_indented_code(self, at: int, line: str) -> bool:
        columns = _INDENTED_CODE.get(self.language, 0)
        if not columns or self.kind != "text" or self.texts or _indent(line) < columns:
            return False
        return bool(self.blocks)  # never the first thing

    def _indented(self, at: int, columns: int) -> int:
        after = at
        while after < len(self.lines) and (not self.stripped[after] or _indent(self.lines[after]) >= columns):
            after += 1
        self._code(self.lines[at:after])
        return after

    def _until_blank(self, at: int) -> int:
        self._open("text")
        after = at + 1
        while after < len(self.lines) and self.stripped[after]:
            after += 1
        return after

    def _directive(self, at: int, stripped: str) -> int:
        match = _DIRECTIVE.match(stripped)
        name, rest = match.groups("") if match else ("", "")
        after = at + 1
        while after < len(self.lines) and (not self.stripped[after] or _indent(self.lines[after]) > _indent(self.lines[at])):
            after += 1
        if name in _CODE_DIRECTIVES:
            body = self.lines[at + 1 : after]
            while body and (not body[0].strip() or body[0].strip().startswith(":")):
                body = body[1:]
            self._code(body, rest.strip().lower())
            return after
        self._open("text", "", rest if name in _TEXT_DIRECTIVES and name != "rubric" else "")
        return at + 1 if name in _TEXT_DIRECTIVES else after

    def _tagged(self, at: int, stripped: str) -> int:
        """`@tag rest` or `\\tag rest`; an inline `{@tag}` does not come here."""
        if self.language == "c" and (match := _KERNEL_ARGUMENT.match(stripped)) and match.group(1) not in _KINDS:
            text = _without_annotation(match.group(2))
            self._open("param", match.group(1).split(".")[-1] if match.group(1) != "..." else "", text)
            return at + 1
        match = _TAG.match(stripped)
        if not match:
            return at + 1 if stripped in ("@{", "@}", "\\{", "\\}") else 0
        tag, rest = match.group(1), match.group(2)
        kind = _KINDS.get(tag.lower(), "skip")
        if kind == "skip" and (self.language == "python" or (stripped[0] == "\\" and len(tag) < 3)):
            return 0  # a decorator in a sentence; \c and \p mark one word
        if kind == "skip" and tag.lower() in _ONE_LINE_TAGS:
            self._open("text")
            return at + 1
        if kind == "code":
            return self._tagged_code(at, tag, rest)
        name, text = self._argument(kind, rest)
        if tag == "option":  # YARD: @option options [Type] :name text
            name, _, text = text.lstrip(":").partition(" ")
        self._open(kind, name, text)
        return at + 1

    def _argument(self, kind: str, rest: str) -> tuple[str, str]:
        """(name, text) of a tag: types, in braces, brackets or (PHP) before the variable, are left out."""
        if kind not in ("param", "return", "raise"):
            return "", rest.lstrip("-–: ")
        rest = rest.lstrip(": ")
        if kind == "raise" and rest[:1] in "{[" and rest:  # YARD and JSDoc: the type is the name
            name, text = rest[1:].partition("}" if rest[0] == "{" else "]")[::2]
            return name, text.lstrip("-–: ")
        rest = _without_type(rest)
        if kind == "return":
            if self.language == "php" and rest.partition(" ")[0].lower() not in ("the", "a", "an"):
                rest = _without_php_type(rest)
            return "", _without_annotation(rest.lstrip("-–: "))
        if self.language == "php" and kind == "param":
            before, dollar, after = rest.partition("$")
            if dollar and len(before.split()) <= 1:
                rest = after
            elif not dollar:
                return "", rest.partition(" ")[2]
        if rest.startswith("["):  # JSDoc's [name=default]
            name, _, rest = rest[1:].partition("]")
            return name.split("=")[0].strip(), rest.lstrip("-–: ")
        name, _, rest = rest.partition(" ")
        return name.strip("<>:`.,$&*"), _without_type(rest.strip()).lstrip("-–: ")

    def _tagged_code(self, at: int, tag: str, rest: str) -> int:
        stripped = self.stripped[at]
        closing = {"code": "endcode", "verbatim": "endverbatim"}.get(tag)
        after = at + 1
        while after < len(self.lines):
            line = self.stripped[after]
            if closing and line[:1] == stripped[0] and line[1:].startswith(closing):
                break
            if not closing and re.match(r"@\w+(?:\s|$)", line) and _indent(self.lines[after]) <= _indent(self.lines[at]):
                break
            after += 1
        title = re.sub(r"</?caption>", "", rest).strip()
        body = self.lines[at + 1 : after]
        self._open("lead", "", title if not closing else "")
        language = ""
        fences = [i for i, line in enumerate(body) if line.strip().startswith("```")]
        if len(fences) >= 2:
            language = body[fences[0]].strip().strip("`").strip().lower()
            self.texts += [line.strip() for line in body[: fences[0]] if line.strip()]
            body = body[fences[0] + 1 : fences[1]]
        self._open("text")
        self._code(body, language)
        return after + 1 if closing else after

    def _field(self, at: int, field: str, argument: str, rest: str) -> int:
        if field.lower() in ("call", "nodoc", "startdoc", "stopdoc", "doc", "enddoc", "yields", "section", "include", "title"):
            return self._until_blank(at) if field == "call" else at + 1
        kind = _KINDS.get(field.lower(), "skip")
        if kind == "skip" and not argument and not rest and field.islower() and self.language != "python":
            return 0
        self._open(kind if kind != "code" else "skip", argument.split()[-1] if argument.split() else "", rest)
        return at + 1

    def _sectioned(self, at: int, line: str, stripped: str) -> int:
        """Google's `Args:` and NumPy's underlined sections. 0: the line is nothing of theirs."""
        indent = _indent(line)
        section = _SECTIONS.get(stripped.lower().rstrip(":")) if len(stripped) < 24 else None
        if section:
            below = self.lines[at + 1] if at + 1 < len(self.lines) else ""
            underlined = bool(_UNDERLINE.match(below.strip()))
            if underlined or stripped.endswith(":"):
                self._open(section)
                self.section, self.numpy, self.section_indent = section, underlined, indent if underlined else -1 - indent
                return at + 1 + underlined
        if not self.section and "):" in stripped and (match := _TYPED_ENTRY.match(stripped)):
            self.section, self.numpy, self.section_indent = "param", False, indent  # a list of parameters without header
            self._open("param", match.group(1), match.group(2))
            return at + 1
        if self.section in ("", "text", "skip"):
            if self.section == "skip" and not self.texts:
                self.kind = "skip"
            return 0
        if self.numpy:
            if indent > self.section_indent:
                return 0
            if self.lines[at + 1 : at + 2] and _UNDERLINE.match(self.stripped[at + 1]):
                self.section = ""  # a section with a name of its own
                return 0
            self._open(self.section, stripped.partition(":")[0].strip() if self.section != "return" else "")
            return at + 1
        if self.section_indent < 0:  # the first entry sets the column, the header's own is -1 - section_indent
            if indent <= -1 - self.section_indent:
                self.section = ""
                self._open("text")
                return 0
            self.section_indent = indent
        if indent < self.section_indent:
            self.section = ""
            self._open("text")
            return 0
        if indent == self.section_indent and (match := _ENTRY.match(stripped)):
            if self.section == "return":
                self._open("return", "", match.group(2) if not self.texts else "")
                return at + 1
            self._open(self.section, match.group(1).lstrip("*"), match.group(2))
            return at + 1
        return 0


def _without_type(text: str) -> str:
    """`text` after a type in braces (JSDoc) or brackets (YARD), nested ones too."""
    if not text or text[0] not in "{[":
        return text
    opening, closing = text[0], {"{": "}", "[": "]"}[text[0]]
    if opening == "[" and "=" in text.partition("]")[0] and ">" not in text.partition("]")[0]:
        return text  # JSDoc's optional parameter with its default
    depth = 0
    for position, character in enumerate(text):
        depth += (character == opening) - (character == closing)
        if depth == 0:
            return text[position + 1 :].strip()
    return text[1:]


def _without_php_type(text: str) -> str:
    """`text` after its first word, which may hold spaces within brackets: `array<int, string> the names`."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character in "<({") - (character in ">)}")
        if character == " " and depth <= 0:
            return text[position + 1 :].lstrip()
    return ""


def _without_annotation(text: str) -> str:
    """`text` after gtk-doc's annotations: `(transfer full): the name`."""
    return text[match.end() :] if text[:1] == "(" and (match := _ANNOTATION.match(text)) else text
