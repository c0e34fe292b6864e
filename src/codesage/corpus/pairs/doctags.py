"""Tags in docstrings: `@param name text` in Javadoc, JSDoc, PHPDoc, YARD and Doxygen; `:param name: text` in reST."""

import re

from codesage.corpus.pairs.docreader import BlockReader, indent, without_annotation

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
_ONE_LINE_TAGS = frozenset(  # their text ends with their line; the next line is prose
    "fn def struct class enum union typedef file name ingroup addtogroup defgroup weakgroup memberof relates relatesalso "
    "namespace "
    "package par private public protected static async abstract final readonly override virtual internal hideinitializer "
    "constructor "
    "interface if ifnot elseif else endif cond endcond nosubgrouping page section subsection subsubsection anchor mainpage api "
    "test beforeclass afterclass dataprovider group covers codecoverageignore runinseparateprocess hidden ignore inner method "
    "function memberof module category kind event alpha beta public experimental".split()
)
_TAG = re.compile(r"[@\\]!?([\w-]+)(?:\[[^\]]{0,20}\])?(?=\s|$|:|\{|\.)\s*(.*)$", re.DOTALL)
_KERNEL_ARGUMENT = re.compile(r"@([\w.\->]+|\.\.\.)\s*:\s*(.*)$", re.DOTALL)


class TagReader(BlockReader):
    """Reads tags and fields. Methods that take a line return the number of the next line, or 0 if it is not theirs."""

    def _tagged(self, at: int, stripped: str) -> int:
        """Read a tag at the start of a line, after "@" or a backslash. Inline tags (`{@tag}`) are handled elsewhere."""
        if self.language == "c" and (match := _KERNEL_ARGUMENT.match(stripped)) and match.group(1) not in _KINDS:
            text = without_annotation(match.group(2))
            self._open("param", match.group(1).split(".")[-1] if match.group(1) != "..." else "", text)
            return at + 1
        match = _TAG.match(stripped)
        if not match:
            return at + 1 if stripped in ("@{", "@}", "\\{", "\\}") else 0
        tag, rest = match.group(1), match.group(2)
        kind = _KINDS.get(tag.lower(), "skip")
        if kind == "skip" and (self.language == "python" or (stripped[0] == "\\" and len(tag) < 3)):
            return 0  # a decorator in a sentence, or \c and \p, which mark one word
        if kind == "skip" and tag.lower() in _ONE_LINE_TAGS:
            self._open("text")
            return at + 1
        if kind == "code":
            return self._tagged_code(at, tag, rest)
        if self.language == "ruby" and tag in ("yield", "yieldreturn"):  # YARD: about the block, not about the result
            self._open("param" if tag == "yield" else "skip", "", _without_type(rest))
            return at + 1
        name, text = self._argument(kind, rest)
        if tag == "option":  # YARD: @option options [Type] :name text
            name, _, text = text.lstrip(":").partition(" ")
        self._open(kind, name, text)
        return at + 1

    def _argument(self, kind: str, rest: str) -> tuple[str, str]:
        """(name, text) of a tag, without types: those in braces or brackets, and in PHP those before the variable."""
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
            return "", without_annotation(rest.lstrip("-–: "))
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
            if not closing and re.match(r"@[\w.]+(?:\s|$)", line) and indent(self.lines[after]) <= indent(self.lines[at]):
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


def _without_type(text: str) -> str:
    """`text` without a leading type in braces (JSDoc) or brackets (YARD), which may be nested."""
    if not text or text[0] not in "{[":
        return text
    opening, closing = text[0], {"{": "}", "[": "]"}[text[0]]
    if opening == "[" and "=" in text.partition("]")[0] and ">" not in text.partition("]")[0]:
        return text  # JSDoc's optional parameter with its default
    depth = end = 0
    while (close := text.find(closing, end)) >= 0:
        depth += text.count(opening, end, close) - 1
        end = close + 1
        if depth == 0:
            return text[end:].strip()
    return text[1:]


def _without_php_type(text: str) -> str:
    """`text` without its first word, which may contain spaces in brackets: "array<int, string> the names"."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character in "<({") - (character in ">)}")
        if character == " " and depth <= 0:
            return text[position + 1 :].lstrip()
    return ""
