"""Sections in docstrings: `Args:` in Google style, underlined headers in NumPy style, and labels such as `Returns:`."""

import re

from codesage.corpus.pairs.declarations import is_signature
from codesage.corpus.pairs.docreader import UNDERLINE, BlockReader, indent, without_annotation

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
_LABEL = re.compile(r"([A-Za-z]{3,12}(?: [A-Za-z]{2,12})?)\s*:(?!:)\s*(.*)$", re.DOTALL)
_NAMED = "function,func,method,procedure,proc,routine,subroutine,module,class".split(",")
_LABELS = {
    label: kind
    for kind, labels in (
        ("return", "return,returns,return value,return values,result,results,retval"),
        ("text", "note,notes,description,purpose,summary,abstract,synopsis,comment,comments,remarks,brief,desc"),
        ("text", ",".join(f"{named} description" for named in _NAMED)),
        (
            "param",
            "input,inputs,input parameter,input parameters,output,outputs,output parameter,output parameters,arguments,"
            "args,parameter,parameters,params,in,out,options database",
        ),
        ("name", ",".join(f"{named},{named} name" for named in _NAMED)),
        (
            "skip",
            "context,locking,name,side effects,programmer,author,level,see also,modifications,date,collective,usage,errors,"
            "history,file,version,since,fortran note,calling sequence,calls,called by,others,signature,title,company,"
            "copyright,project,created,revision",
        ),
    )
    for label in labels.split(",")
}
_NAMES = "|".join(_NAMED)
_HEADER = re.compile(  # a line that only headers made of labels have; other labels than these also begin a line of prose
    r"\A\s*sample-metadata:|"  # of the samples for Node.js
    rf"^[ \t]*(?:(?:{_NAMES}) name[ \t]*:|(?-i:(?=[A-Z]))(?:title|description|(?:{_NAMES})(?=[ \t]*:[ \t]*\S+[ \t]*$))[ \t]*:"
    rf"[ \t]*\S)|\A\s*(?-i:(?=[A-Z]))(?:{_NAMES})[ \t]*:[ \t]+\S",
    re.IGNORECASE | re.MULTILINE,
)
_NO_VALUE = frozenset(("none", "void", "n/a", "nothing", "no", "-"))
_ENTRY = re.compile(r"(\*{0,2}[\w.]+(?:,\s*\*{0,2}\w+){0,5})\s*(?:\(.{0,200}?\))?\s*:(?=\s|$)\s*(.*)$", re.DOTALL)
_DASHED = re.compile(r"(\*{0,2}\w+(?:,\s*\*{0,2}\w+){0,5})\s+--?\s+(.*)$", re.DOTALL)
_TYPED_ENTRY = re.compile(r"(\w{1,80}) \([^()]{0,200}(?:\([^()]{0,80}\)[^()]{0,80})?\):(?=\s|$)\s*(.*)$", re.DOTALL)


class SectionReader(BlockReader):
    """Reads sections and their entries. Each method returns the number of the next line, or 0 if the line is neither."""

    def _sectioned(self, at: int, line: str, stripped: str) -> int:
        """Read a line of a section: `Args:` in Google style or underlined in NumPy style."""
        column = indent(line)
        if after := self._section_header(at, column, stripped):
            return after
        if not self.section and "):" in stripped and (match := _TYPED_ENTRY.match(stripped)):
            self.section, self.numpy, self.section_indent = "param", False, column  # a list of parameters without a header
            self._open("param", match.group(1), match.group(2))
            return at + 1
        if self.section in ("", "text", "skip"):
            if self.section == "skip" and not self.texts:
                self.kind = "skip"
            return 0
        return self._numpy_entry(at, column, stripped) if self.numpy else self._google_entry(at, column, stripped)

    def _section_header(self, at: int, column: int, stripped: str) -> int:
        section = _SECTIONS.get(stripped.lower().rstrip(":")) if len(stripped) < 24 else None
        if not section:
            return 0
        below = self.lines[at + 1] if at + 1 < len(self.lines) else ""
        underlined = bool(UNDERLINE.match(below.strip()))
        if not underlined and not stripped.endswith(":"):
            return 0
        self._open(section)
        self.section, self.numpy, self.section_indent = section, underlined, column if underlined else -1 - column
        self.header_at, self.header_indent = at, column
        return at + 1 + underlined

    def _numpy_entry(self, at: int, column: int, stripped: str) -> int:
        if column > self.section_indent:
            return 0
        if self.lines[at + 1 : at + 2] and UNDERLINE.match(self.stripped[at + 1]):
            self.section = ""  # a section with a custom name
            return 0
        self._open(self.section, stripped.partition(":")[0].strip() if self.section != "return" else "")
        return at + 1

    def _google_entry(self, at: int, column: int, stripped: str) -> int:
        match = _ENTRY.match(stripped) or (_DASHED.match(stripped) if " -" in stripped and self.section != "return" else None)
        if self.section_indent < 0:  # the first entry sets the column; that of the header is -1 - section_indent
            if column < self.header_indent or (column == self.header_indent and not self._begins_beside_header(at, match)):
                return self._end_section()
            self.section_indent = column
        after_blank = column == self.header_indent and not self.stripped[at - 1]
        if column < self.section_indent or (after_blank and not match):
            return self._end_section()
        if column == self.section_indent and match:
            if self.section == "return":
                self._open("return", "", match.group(2) if not self.texts else "")
            else:
                self._open(self.section, match.group(1).lstrip("*"), match.group(2))
            return at + 1
        return 0

    def _begins_beside_header(self, at: int, match: re.Match | None) -> bool:
        """Whether a line in the column of its header belongs to the section.

        An entry does in the next line, as PEP 257 writes them (`x -- text`). A result does only below the first line of a
        docstring, which has no indentation of its own.
        """
        if self.section == "return":
            return self.header_at == 0
        if match is None or at != self.header_at + 1:
            return False
        return match.group(1).lower() not in _SECTIONS

    def _end_section(self) -> int:
        self.section = ""
        self._open("text")
        return 0

    def _labelled(self, at: int, stripped: str) -> int:
        """Read a line such as `Returns: text`: in C, and elsewhere in a header made of labels."""
        match = _LABEL.match(stripped) if self.section not in ("param", "return", "raise") else None
        kind = _LABELS.get(match.group(1).lower()) if match else None
        if match is None or not kind or (self.language != "c" and not self._is_header()):
            return 0
        text = without_annotation(match.group(2))
        if kind == "name":
            kind, text = _after_name(text)
        self._open(kind, "", "" if text.lower().rstrip(".") in _NO_VALUE else text)
        self.labelled = True
        return at + 1

    def _is_header(self) -> bool:
        """Whether the docstring is a header made of labels: `Function name: f`, `Description: text`."""
        if self.header is None:
            self.header = _HEADER.search("\n".join(self.lines)) is not None
        return self.header


def _after_name(value: str) -> tuple[str, str]:
    """(kind, text) of the block that `Function: value` opens. The value is a sentence, or a name that ends with its line."""
    if is_signature(value):
        return "text", ""
    if value.count(" ") > 1 and sum([word.isalpha() and word.islower() for word in value.rstrip(".").split()]) > 1:
        return "text", value
    return "text" if value and value.count("(") == value.count(")") else "skip", ""
