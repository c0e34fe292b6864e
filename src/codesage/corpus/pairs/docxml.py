"""Splits C#'s XML documentation into blocks: (kind, text, name) as in docreader.Block.

Hand-written documentation is often not well-formed XML: it has bare `<`, tags left open and tags in capitals. The reader
therefore takes each tag by itself: a known tag opens or closes a block, and an unknown one ("List<T>", HTML) stays in the
text.
"""

import html
import re
from collections.abc import Iterator

from codesage.corpus.pairs.markup import reference
from codesage.corpus.pairs.sentences import breaks_sentence

_TAGS = re.compile(r"(<[/!]?[A-Za-z\[][^<>]{0,500}>)")
_NAME = re.compile(r"</?([\w:]+)(?=[\s/>])")
_ATTRIBUTE = re.compile(r"\b(?:cref|name|langword|href|title)\s*=\s*[\"']?([^\"'>]{0,300}?)[\"']?\s*(?=[\s/>])", re.IGNORECASE)
_LITERAL = re.compile(r"<!\[CDATA\[([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\]\]>")  # brackets may not nest
_KNOWN = re.compile(
    r"</?(?:summary|overloads>|remarks|returns|param |inheritdoc|exception |see cref|value>|example>|typeparam |devdoc|doc>|"
    r"internalonly|include file|content>|securitynote|securitykernel|summar>|symmary>|sumary>|summay>|summery>)",
    re.IGNORECASE,
)
_KINDS = {
    "summary": "text",
    **dict.fromkeys(("summar", "symmary", "sumary", "summay", "summery"), "text"),  # misspelled
    "content": "text",
    "remarks": "text",
    "param": "param",
    "typeparam": "param",
    "returns": "return",
    "return": "return",
    "value": "text",
    "exception": "raise",
    "example": "lead",
    "devdoc": "text",
    "doc": "text",
    "overloads": "text",
    "seealso": "skip",
    "permission": "skip",
}
_BREAKS = frozenset("para p item list listheader br ul ol li".split())
_REFERENCES = frozenset(("see", "paramref", "typeparamref", "seealso"))
_SILENT = frozenset(  # tags with no meaning for the text
    "internalonly include exclude preliminary c description completionlist threadsafety nodoc".split()
)
_DROPPED = frozenset(
    "filterpriority author authors date created changed history version since copyright license revision "
    "platform platforms owner newpara changelog securitynote securitykernel".split()
)


def is_xml(text: str) -> bool:
    """Whether a docstring uses C#'s documentation tags."""
    return _KNOWN.search(text) is not None


def read_xml(text: str) -> Iterator[tuple[str, str, str]]:
    """Yields blocks of kinds text, param, return, raise, lead and code: the summary first, the others in source order."""
    reader = _Reader()
    if "<![CDATA[" in text:
        text = _LITERAL.sub(lambda match: html.escape(match.group(1), quote=False), text)
    for piece in _TAGS.split(text):
        reader.take(piece)
    return reader.finish()


class _Reader:
    """The state of one pass: the open block (kind, name, texts), the code collected so far, and the tag being skipped."""

    def __init__(self) -> None:
        self.first: list[tuple[str, str, str]] = []  # blocks of the summary
        self.blocks: list[tuple[str, str, str]] = []
        self.kind, self.name, self.tag = "text", "", ""
        self.texts: list[str] = []
        self.code: list[str] | None = None
        self.dropped = ""  # the tag whose text is being skipped
        self.pending = ""  # the target of an open reference that has no label yet

    def take(self, piece: str) -> None:
        """Process one piece: a tag, or the text between two tags."""
        tag = match.group(1).lower() if piece.startswith("<") and (match := _NAME.match(piece)) else ""
        closing, whole = piece.startswith("</"), piece.endswith("/>")
        if self.code is not None:  # generics in code look like tags
            self._collect(self.code, piece, ends=tag == "code" and closing)
        elif self.dropped:
            self.dropped = "" if tag == self.dropped and closing else self.dropped
        elif not tag:
            self.pending = "" if piece.strip() else self.pending
            self.texts.append(piece)
        else:
            self._tag(tag, piece, closing=closing, whole=whole)

    def _tag(self, tag: str, piece: str, *, closing: bool, whole: bool) -> None:
        if tag == "code":
            self.code = None if closing or whole else []
        elif tag == "inheritdoc":
            self.texts.append("{@inheritDoc}")
        elif tag in _REFERENCES and self._refers(tag, piece, closing=closing, whole=whole):
            pass
        elif whole and tag in ("param", "typeparam") and "".join(self.texts).strip():
            self._refers(tag, piece, closing=False, whole=True)
        elif tag in _KINDS:
            self._open(tag, piece, opened=not closing and not whole)
        elif tag in _BREAKS:
            self._close()
        elif tag == "term":
            self.texts.append(": " if closing else "")
        elif tag in _DROPPED:
            self.dropped = "" if closing or whole else tag
        elif tag not in _SILENT and "=" not in piece:
            self.texts.append(piece)

    def _refers(self, tag: str, piece: str, *, closing: bool, whole: bool) -> bool:
        """Process a reference in a sentence: its label, or else its target, becomes text. Returns whether the tag is one."""
        if tag == "seealso" and not "".join(self.texts).strip():
            return False
        if closing:
            self.texts.append(self.pending)
            self.pending = ""
            return True
        attribute = _ATTRIBUTE.search(piece)
        target = _reference(attribute.group(1)) if attribute else ""
        if whole or tag in ("paramref", "typeparamref"):
            self.texts.append(target)
        else:
            self.pending = target
        return True

    def _open(self, tag: str, piece: str, *, opened: bool) -> None:
        self._close()
        attribute = _ATTRIBUTE.search(piece) if opened else None
        self.kind, self.tag = (_KINDS[tag], tag) if opened else ("text", "")
        self.name = _reference(attribute.group(1)) if attribute else ""

    def _collect(self, pieces: list[str], piece: str, *, ends: bool) -> None:
        """Add a piece of `<code>`. One line of code within a sentence becomes part of it; other code becomes a block."""
        if not ends:
            pieces.append(piece)
            return
        code = "".join(pieces)
        self.code = None
        before = "".join(self.texts)
        if "\n" not in code and before.strip() and not before.rstrip(" ").endswith((":", "\n", ">")):
            self.texts.append(code)
            return
        self._close()
        self._blocks().append(("code", _code(code), ""))

    def _blocks(self) -> list[tuple[str, str, str]]:
        return self.first if self.tag == "summary" else self.blocks

    def _close(self) -> None:
        self._blocks().extend(_paragraphs(self.kind, self.texts, self.name))
        self.texts = []

    def finish(self) -> Iterator[tuple[str, str, str]]:
        """Close what is open; returns the blocks, those of the summary first."""
        if self.code:
            code = _code("".join(self.code))
            self._close()
            self._blocks().append(("code", code, ""))
        self._close()
        return iter([*self.first, *self.blocks])


def _paragraphs(kind: str, texts: list[str], name: str) -> Iterator[tuple[str, str, str]]:
    if kind == "skip":
        return
    lines: list[str] = []
    for line in [*html.unescape("".join(texts)).split("\n"), ""]:
        if stripped := line.strip():
            if lines and stripped[0].isupper() and breaks_sentence(lines[-1], stripped):
                lines[-1] += "."
            lines.append(stripped)
        elif lines:
            yield kind, " ".join(lines), name
            lines = []


def _reference(target: str) -> str:
    """Like markup.reference(), but shortens `Some.Namespace.Type` to `Type` even without the kind ("T:") in front."""
    return reference(target if target[1:2] == ":" or target.startswith("http") else f"T:{target}")


def _code(text: str) -> str:
    lines = html.unescape(text.replace("<![CDATA[", "").replace("]]>", "")).split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()), default=0)
    first = lines[0] if lines[0].strip() else ""
    return "\n".join([first.strip(), *(line[margin:].rstrip() for line in lines[1:])]).strip("\n")
