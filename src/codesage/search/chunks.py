"""Cut a file into the chunks that search indexes: one per function or class, and windows of everything else.

In: a Document. Out: Chunks, in order of their lines. A class keeps its header, docstring and attributes; its methods
are chunks of their own. Every line is in some chunk, except where there is no word in all lines of one (`}`).
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, groupby
from typing import TYPE_CHECKING

from codesage.languages import LANGUAGES
from codesage.records import Chunk, Document
from codesage.walk import with_line_feeds

if TYPE_CHECKING:
    from codesage.syntax.outline import Outlined

_WORD = re.compile(r"\w")
WINDOW = 40  # lines of a window, and of a piece of a long function
_LONGEST = 120  # lines of a function that stays whole


def chunks(document: Document) -> list[Chunk]:
    """Chunks of a document; one whose language has no grammar, or that the parser refuses, is cut into windows."""
    source = with_line_feeds(document.text)
    lines = source.split("\n")  # splitlines() would also break at form feeds, which no editor counts
    owners: list[Outlined | None] = [None]
    owner = [0] * len(lines)  # by line, from 0: the innermost definition, by its place in `owners`
    for one in _definitions(document, source):
        around = owners[owner[one.start - 1]]
        if one.kind == "function" and around is not None and around.kind == "function":
            continue  # a nested function belongs to the one around it
        last = min(one.last, len(lines))
        owner[one.first - 1 : last] = [len(owners)] * (last + 1 - one.first)
        owners.append(one)
    stretches: dict[int, list[list[int]]] = {}  # by definition, the lines that it owns, cut where one is missing
    for place, stretch in groupby(range(len(lines)), key=owner.__getitem__):
        stretches.setdefault(place, []).append(list(stretch))
    result = []
    for place, own in stretches.items():
        result += _windows(document, lines, owners[place], [list(chain.from_iterable(own))] if place else own)
    return sorted(result, key=lambda chunk: (chunk.start_line, chunk.end_line))


def definitions(spans: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The chunks of one name in a file by definition: a long one has several chunks, and several may have the same name.

    `spans` are the first and last lines of the chunks, in order. The parts of one definition are of equal length, as
    `_windows` cuts them. A long function with a class inside counts as several.
    """
    groups, start = [], 0
    while start < len(spans):
        end = next((end for end in range(len(spans), start + 1, -1) if _are_parts(spans[start:end])), start + 1)
        groups.append(list(range(start, end)))
        start = end
    return groups


def _are_parts(spans: Sequence[tuple[int, int]]) -> bool:
    first, parts = spans[0][0], len(spans)
    length = spans[-1][1] + 1 - first
    return (
        length > _LONGEST
        and parts == -(-length // WINDOW)
        and all(
            first + part * length // parts <= start <= end < first + (part + 1) * length // parts
            for part, (start, end) in enumerate(spans)
        )
    )


def _definitions(document: Document, text: str) -> "Iterator[Outlined]":
    """The definitions in a document, an outer one before those in it. `text`: with line feeds alone."""
    from codesage.syntax import ParseRefused, outlines, parse  # not needed where nothing is read anew
    from codesage.syntax.outline import outline

    with suppress(ParseRefused):
        if document.language in LANGUAGES:
            yield from outlines(parse(text, document.language, tsx=document.path.endswith(".tsx"), timed=True))
        elif document.language:
            yield from outline(text, document.language)


def _windows(
    document: Document, lines: list[str], definition: "Outlined | None", stretches: list[list[int]]
) -> Iterator[Chunk]:
    """The chunks of a definition, or of what is in none: `stretches` are numbers of lines, from 0."""
    kind, name = ("window", "") if definition is None else (definition.kind, definition.name)
    for stretch in stretches:
        size = WINDOW if definition is None or len(stretch) > _LONGEST else len(stretch)
        parts = -(-len(stretch) // size)  # of equal length, so that none is the last line alone
        for part in range(parts):
            piece = stretch[part * len(stretch) // parts : (part + 1) * len(stretch) // parts]
            text = "\n".join([lines[number] for number in piece]).strip("\n")
            if _WORD.search(text):
                first = next(number for number in piece if lines[number].strip())
                last = next(number for number in reversed(piece) if lines[number].strip())
                yield Chunk(document.path, document.language, kind, name, first + 1, last + 1, text)
