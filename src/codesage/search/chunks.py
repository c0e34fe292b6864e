"""Cut a file into the chunks that search indexes: one per function or class, and windows of everything else.

In: a Document. Out: Chunks, in order of their lines. A class keeps its header, docstring and attributes; its methods
are chunks of their own. Every line is in some chunk, except where there is no word in all lines of one (`}`).
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

from codesage.languages import LANGUAGES
from codesage.records import Chunk, Document

if TYPE_CHECKING:
    from codesage.syntax.outline import Outlined

_WORD = re.compile(r"\w")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
WINDOW = 40  # lines of a window, and of a piece of a long function
_LONGEST = 120  # lines of a function that stays whole


def chunks(document: Document) -> list[Chunk]:
    """Chunks of a document; one whose language has no grammar, or that the parser refuses, is cut into windows."""
    lines = _LINE_BREAK.split(document.text)  # splitlines() would also break at form feeds, which no editor counts
    owners: list[Outlined | None] = [None]
    owner = [0] * (len(lines) + 1)  # by line, from 1: the innermost definition, by its place in `owners`
    for one in _definitions(document, "\n".join(lines)):
        around = owners[owner[one.start]]
        if one.kind == "function" and around is not None and around.kind == "function":
            continue  # a nested function belongs to the one around it
        last = min(one.last, len(lines))
        owner[one.first : last + 1] = [len(owners)] * (last + 1 - one.first)
        owners.append(one)
    by_definition: dict[int, list[int]] = {}
    for line in range(1, len(lines) + 1):
        by_definition.setdefault(owner[line], []).append(line)
    result = []
    for place, numbers in by_definition.items():
        result += _windows(document, lines, owners[place], numbers)
    return sorted(result, key=lambda chunk: (chunk.start_line, chunk.end_line))


def _definitions(document: Document, text: str) -> "Iterator[Outlined]":
    """The definitions in a document, an outer one before those in it. `text`: with line feeds alone."""
    from codesage.syntax import ParseRefused, functions, parse  # not needed where nothing is read anew
    from codesage.syntax.outline import Outlined, outline

    with suppress(ParseRefused):
        if document.language in LANGUAGES:
            tree = parse(text, document.language, tsx=document.path.endswith(".tsx"))
            for one in functions(tree):
                first = one.start_line - tree.source.count(b"\n", one.doc_start_byte, one.start_byte)
                name = f"{one.parent}.{one.name}" if one.parent else one.name
                yield Outlined(one.kind, name, first, one.start_line, one.end_line)
        elif document.language:
            yield from outline(text, document.language)


def _windows(document: Document, lines: list[str], definition: "Outlined | None", numbers: list[int]) -> list[Chunk]:
    size = WINDOW if definition is None or len(numbers) > _LONGEST else len(numbers)
    kind, name = ("window", "") if definition is None else (definition.kind, definition.name)
    windows = []
    for run in [numbers] if definition is not None else _runs(numbers):
        parts = -(-len(run) // size)  # of equal length, so that none is the last line alone
        for part in range(parts):
            piece = run[part * len(run) // parts : (part + 1) * len(run) // parts]
            text = "\n".join([lines[number - 1] for number in piece]).strip("\n")
            if _WORD.search(text):
                first = next(number for number in piece if lines[number - 1].strip())
                last = next(number for number in reversed(piece) if lines[number - 1].strip())
                windows.append(Chunk(document.path, document.language, kind, name, first, last, text))
    return windows


def _runs(numbers: list[int]) -> list[list[int]]:
    """Ascending numbers cut where one is missing."""
    breaks = [at for at in range(1, len(numbers)) if numbers[at] != numbers[at - 1] + 1]
    return [numbers[start:end] for start, end in pairwise([0, *breaks, len(numbers)])]
