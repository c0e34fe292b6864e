"""A file to the chunks that search indexes: one per function or class, windows for everything else.

In: a Document. Out: Chunks, in order of their lines. A class keeps its header, docstring and attributes; its methods
are chunks of their own. Every line that is not blank is in some chunk.
"""

import re
from contextlib import suppress

from codesage.records import Chunk, Document, Function
from codesage.syntax import ParseRefused, functions, parse

_LINE_BREAK = re.compile(r"\r\n|\r|\n")
WINDOW = 40  # lines of a window, and of a piece of a long function
_LONGEST = 120  # lines of a function that stays whole


def chunks(document: Document) -> list[Chunk]:
    """Chunks of a document; one whose language has no grammar, or that the parser refuses, is cut into windows."""
    lines = _LINE_BREAK.split(document.text)  # splitlines() would also break at form feeds, which no editor counts
    owner: list[Function | None] = [None] * (len(lines) + 1)  # by line, from 1: the innermost definition
    if document.language:
        with suppress(ParseRefused):
            tree = parse("\n".join(lines), document.language, tsx=document.path.endswith(".tsx"))
            for function in functions(tree):
                if function.kind == "function" and _inside_function(owner[function.start_line]):
                    continue  # a nested function belongs to the one around it
                first = tree.source.count(b"\n", 0, function.doc_start_byte) + 1
                for line in range(first, min(function.end_line, len(lines)) + 1):
                    owner[line] = function
    by_definition: dict[Function | None, list[int]] = {}
    for line in range(1, len(lines) + 1):
        by_definition.setdefault(owner[line], []).append(line)
    found = []
    for function, numbers in by_definition.items():
        found += _windows(document, lines, function, numbers)
    return sorted(found, key=lambda chunk: (chunk.start_line, chunk.end_line))


def _inside_function(function: Function | None) -> bool:
    return function is not None and function.kind == "function"


def _windows(document: Document, lines: list[str], function: Function | None, numbers: list[int]) -> list[Chunk]:
    size = WINDOW if function is None or len(numbers) > _LONGEST else len(numbers)
    name, kind = "", "window"
    if function is not None:
        name, kind = f"{function.parent}.{function.name}" if function.parent else function.name, function.kind
    found, piece = [], []
    for number in [*numbers, None]:
        broken = function is None and piece and number is not None and number != piece[-1] + 1
        if piece and (number is None or len(piece) >= size or broken):
            text = "\n".join(lines[n - 1] for n in piece).strip("\n")
            if text.strip():
                filled = [n for n in piece if lines[n - 1].strip()]
                found.append(Chunk(document.path, document.language, kind, name, filled[0], filled[-1], text))
            piece = []
        if number is not None:
            piece.append(number)
    return found
