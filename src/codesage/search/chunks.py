"""Cut a file into the chunks that search indexes: one per function or class, and windows of everything else.

In: a Document. Out: Chunks, in order of their lines. A class keeps its header, docstring and attributes; its methods
are chunks of their own. Every line is in some chunk, except where there is no word in all lines of one (`}`).
"""

import re
from contextlib import suppress
from itertools import pairwise

from codesage.records import Chunk, Document, Function

_WORD = re.compile(r"\w")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
WINDOW = 40  # lines of a window, and of a piece of a long function
_LONGEST = 120  # lines of a function that stays whole


def chunks(document: Document) -> list[Chunk]:
    """Chunks of a document; one whose language has no grammar, or that the parser refuses, is cut into windows."""
    from codesage.syntax import ParseRefused, functions, parse  # not needed where nothing is read anew

    lines = _LINE_BREAK.split(document.text)  # splitlines() would also break at form feeds, which no editor counts
    owners: list[Function | None] = [None]
    owner = [0] * (len(lines) + 1)  # by line, from 1: the innermost definition, by its place in `owners`
    if document.language:
        with suppress(ParseRefused):
            tree = parse("\n".join(lines), document.language, tsx=document.path.endswith(".tsx"))
            for function in functions(tree):
                if function.kind == "function" and _inside_function(owners[owner[function.start_line]]):
                    continue  # a nested function belongs to the one around it
                first = function.start_line - tree.source.count(b"\n", function.doc_start_byte, function.start_byte)
                last = min(function.end_line, len(lines))
                owner[first : last + 1] = [len(owners)] * (last + 1 - first)
                owners.append(function)
    by_definition: dict[int, list[int]] = {}
    for line in range(1, len(lines) + 1):
        by_definition.setdefault(owner[line], []).append(line)
    found = []
    for place, numbers in by_definition.items():
        found += _windows(document, lines, owners[place], numbers)
    return sorted(found, key=lambda chunk: (chunk.start_line, chunk.end_line))


def _inside_function(function: Function | None) -> bool:
    return function is not None and function.kind == "function"


def _windows(document: Document, lines: list[str], function: Function | None, numbers: list[int]) -> list[Chunk]:
    size = WINDOW if function is None or len(numbers) > _LONGEST else len(numbers)
    name, kind = "", "window"
    if function is not None:
        name, kind = f"{function.parent}.{function.name}" if function.parent else function.name, function.kind
    found = []
    for run in [numbers] if function is not None else _runs(numbers):
        parts = -(-len(run) // size)  # of equal length, so that none is the last line alone
        for part in range(parts):
            piece = run[part * len(run) // parts : (part + 1) * len(run) // parts]
            text = "\n".join([lines[number - 1] for number in piece]).strip("\n")
            if _WORD.search(text):
                first = next(number for number in piece if lines[number - 1].strip())
                last = next(number for number in reversed(piece) if lines[number - 1].strip())
                found.append(Chunk(document.path, document.language, kind, name, first, last, text))
    return found


def _runs(numbers: list[int]) -> list[list[int]]:
    """Ascending numbers cut where one is missing."""
    breaks = [at for at in range(1, len(numbers)) if numbers[at] != numbers[at - 1] + 1]
    return [numbers[start:end] for start, end in pairwise([0, *breaks, len(numbers)])]
