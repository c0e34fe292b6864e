"""C#'s XML documentation to blocks: (kind, text, name) as in docblocks.Block.

Hand-written documentation is often no well-formed XML (bare `<`, tags left open), so tags are taken as they come.
"""

import html
import re
from collections.abc import Iterator

_TAGS = re.compile(r"(<[/!]?[A-Za-z\[][^<>]{0,500}>)")
_NAME = re.compile(r"</?([\w:]+)")
_ATTRIBUTE = re.compile(r"\b(?:cref|name|langword|href|title)\s*=\s*[\"']([^\"']{0,300})[\"']")
_KNOWN = re.compile(r"</?(?:summary|remarks|returns|param |inheritdoc|exception |see cref|value>|example>|typeparam )")
_KINDS = {"summary": "text", "remarks": "text", "param": "param", "typeparam": "param", "returns": "return",
          "value": "text", "exception": "raise", "example": "lead", "para": "", "p": "", "item": "", "list": "",
          "listheader": "", "br": "", "seealso": "skip", "permission": "skip"}  # fmt: skip


def is_xml(text: str) -> bool:
    """Whether a docstring uses C#'s documentation tags."""
    return _KNOWN.search(text) is not None


def read_xml(text: str) -> Iterator[tuple[str, str, str]]:
    """Blocks in source order: text, param, return, raise, lead (of an example), code."""
    kind, name, texts = "text", "", []
    code: list[str] | None = None

    for piece in _TAGS.split(text):
        tag = match.group(1).lower() if piece.startswith("<") and (match := _NAME.match(piece)) else ""
        closing = piece.startswith("</")
        if code is not None:  # generics in a block of code look like tags
            if tag == "code" and closing:
                yield "code", _code("".join(code)), ""
                code = None
            else:
                code.append(piece)
        elif tag == "code" and not closing and not piece.endswith("/>"):
            yield from _paragraphs(kind, texts, name)
            texts, code = [], []
        elif tag == "inheritdoc":
            texts.append("{@inheritDoc}")
        elif tag in _KINDS:
            yield from _paragraphs(kind, texts, name)
            texts = []
            if _KINDS[tag]:
                attribute = _ATTRIBUTE.search(piece)
                opened = not closing and not piece.endswith("/>")
                kind = _KINDS[tag] if opened else "text"
                name = _reference(attribute.group(1)) if attribute and opened else ""
        elif tag in ("see", "paramref", "typeparamref"):
            if piece.endswith("/>") and (attribute := _ATTRIBUTE.search(piece)):
                texts.append(_reference(attribute.group(1)))
        elif not tag:
            texts.append(piece)
    if code:
        yield "code", _code("".join(code)), ""
    yield from _paragraphs(kind, texts, name)


def _paragraphs(kind: str, texts: list[str], name: str) -> Iterator[tuple[str, str, str]]:
    if kind == "skip":
        return
    lines: list[str] = []
    for line in [*html.unescape("".join(texts)).split("\n"), ""]:
        if line.strip():
            lines.append(line.strip())
        elif lines:
            yield kind, " ".join(lines), name
            lines = []


def _reference(target: str) -> str:
    """`T:Some.Namespace.Type` as `Type`, `M:A.B.Do(System.Int32)` as `B.Do`: what a reader calls it."""
    if target.startswith("http"):
        return ""
    kind, target = (target[0], target[2:]) if target[1:2] == ":" else ("", target)
    parts = target.partition("(")[0].split("`")[0].split("{")[0].split(".")
    return ".".join(parts[-2:] if kind in "MPF" and kind else parts[-1:])


def _code(text: str) -> str:
    lines = html.unescape(text.replace("<![CDATA[", "").replace("]]>", "")).split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()), default=0)
    first = lines[0] if lines[0].strip() else ""
    return "\n".join([first.strip(), *(line[margin:].rstrip() for line in lines[1:])]).strip("\n")
