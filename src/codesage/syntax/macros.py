"""Calls of C macros that the grammar takes for the start of the function below them.

Without a semicolon behind it, `DEFINE_LIST(names)` looks like a function whose body follows. The real function is the last one
before the body.
"""

import re

from codesage.syntax.names import RESERVED

_BRACKETS = re.compile(rb"[()]")
_NAME = re.compile(rb"\s*(\w*[A-Za-z_])")  # of a reversed text
_DECLARES = re.compile(rb"\s*void\s*$|\w[\s*]+\w")  # in the parameters of a function, not in the arguments of most macros
_GAP = re.compile(
    rb".*(?:\*/|[;}]|//[^\n]*\n|#[^\n]*\n|\n[ \t]*\n"
    rb"|\)[ \t]*\n(?=[ \t]*(?:static|extern|inline|const|void|int|char|long|unsigned|struct|bool|size_t)\b))\s*",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(rb"__\w+|[A-Z_][A-Z0-9_]*")
_TYPE = re.compile(rb"\b(?:struct|union|enum)(?:\s+\w+)?$")


def behind_calls(source: bytes, start: int, opening: int, name: str) -> tuple[str, int] | None:
    """Returns (name of the function behind calls of macros, first byte of its code), or None if `name` is the right name.

    The grammar takes the text from byte `start` to the body, which starts at byte `opening`, for the header of `name`. The
    answer has the name "" if the body is that of a type.
    """
    if source.count(b")", start, opening) < 2 and source.startswith(b")", _last(source, opening)):
        return None
    header = source[start:opening].rstrip()
    if not header.endswith(b")"):
        return ("", start) if _TYPE.search(header, max(0, len(header) - 100)) else None
    bracket = _opening(header)
    match = _NAME.match(header[:bracket][::-1])
    last = match.group(1)[::-1].decode() if match else name
    if match is None or last == name or last in RESERVED["c"] or not _DECLARES.search(header, bracket + 1, len(header) - 1):
        return None
    own = bracket - match.end()
    call = re.search(rb"\b" + re.escape(name.encode()) + rb"\s*\(", header[:own])
    end = _closing(header, call.end()) if call else own
    if call is None or end >= own:
        return None
    gap, macro = _GAP.match(header, end - 1, own), not _DECLARES.search(header, call.end(), end - 1)
    if macro and (gap or not _ATTRIBUTE.fullmatch(last.encode())):
        return last, start + gap.end() if gap else start
    return (last, start + gap.end()) if gap and gap.end() < own else None


def _last(source: bytes, opening: int) -> int:
    """The last byte before `opening` that is not white space."""
    while opening > 0 and source[opening - 1] in b" \t\r\n":
        opening -= 1
    return opening - 1


def _opening(header: bytes) -> int:
    """The bracket that the one at the end of `header` closes."""
    depth, position = 1, len(header) - 1
    while depth and position > 0:
        position = max(header.rfind(b"(", 0, position), header.rfind(b")", 0, position))
        depth += 1 if header[position : position + 1] == b")" else -1
    return max(position, 0)


def _closing(header: bytes, start: int) -> int:
    """First byte after the bracket that closes the one before byte `start`, or the end of the text."""
    depth = 1
    for match in _BRACKETS.finditer(header, start):
        depth += 1 if match.group() == b"(" else -1
        if not depth:
            return match.end()
    return len(header)
