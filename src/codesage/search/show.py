r"""Answers on a terminal or in a pipe.

In: hits. Out: lines. On a terminal names and code are coloured, and control characters are shown as `\x1b`. In a
pipe nothing is coloured. NO_COLOR, `TERM=dumb` and `--color` are respected.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

from codesage.errors import printable
from codesage.records import Chunk, Hit
from codesage.search.clones import Group
from codesage.search.patterns import NO_PATTERNS, Patterns
from codesage.search.searcher import openable

_LINES = 4  # of each answer, unless lines of context are asked for
_WIDTH = 160


class Screen:
    """Prints answers. `colour`: "auto" (on a terminal only), "always" or "never"."""

    def __init__(self, colour: str = "auto") -> None:
        terminal = sys.stdout is not None and sys.stdout.isatty()
        wanted = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.terminal = terminal
        self.colour = colour == "always" or (colour == "auto" and wanted)

    def paths(self, paths: Iterable[str], *, null: bool = False) -> None:
        """Print each path once; into a pipe as it is on disk, with a null byte instead of a line break if `null`."""
        for path in dict.fromkeys(paths):
            if self.terminal:
                typer.echo(printable(path))
            elif sys.stdout is not None:
                sys.stdout.flush()
                sys.stdout.buffer.write(os.fsencode(openable(path)) + (b"\0" if null else b"\n"))

    def json(self, value: dict) -> None:
        """Print one JSON document on one line, in ASCII and without control characters."""
        encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
        typer.echo(json.dumps(value, ensure_ascii=self.terminal or encoding != "utf8"))

    def groups(self, groups: Sequence[Group], top: int) -> None:
        """Print groups of functions, and how many more there are than `top`."""
        for group in groups[:top]:
            self._echo(f"{len(group.chunks)} functions, similarity {group.similarity:.2f}")
            for chunk in group.chunks:
                lines = chunk.end_line - chunk.start_line + 1
                self._echo(f"    {self._place(chunk, chunk.start_line)}: {printable(chunk.name)}  ({lines} lines)")
        if len(groups) > top:
            self._echo(f"and {len(groups) - top:,} more groups (-k shows more)")

    def hit(
        self,
        hit: Hit,
        *,
        patterns: Patterns = NO_PATTERNS,
        context: int | None = None,
        explain: bool = False,
        stale: bool = False,
    ) -> None:
        """Print one answer: its place, name and score, then lines of it."""
        chunk = hit.chunk
        matching = matching_lines(chunk, patterns) or [chunk.start_line]
        more = (f"  (and {hit.alike} alike)" if hit.alike else "") + ("  (changed since)" if stale else "")
        self._echo(f"{self._place(chunk, matching[0])}: {printable(chunk.name) or chunk.kind}  {hit.score:.4f}{more}")
        if explain:
            self._echo("    = " + ", ".join(f"{rule} {value:.3f}" for rule, value in hit.parts.items()))
        if patterns or context is not None:
            self._numbered(chunk, matching[:_LINES], context or 0)
        else:
            for line in self._coloured(chunk, chunk.text.split("\n")[:_LINES]):
                self._echo(f"    {line}")

    def _numbered(self, chunk: Chunk, matching: list[int], context: int) -> None:
        lines = _lines_around(chunk)
        wanted = sorted(line for line in lines if any(abs(line - at) <= context for at in matching))
        width = len(str(wanted[-1])) if wanted else 0
        texts = self._coloured(chunk, [lines[number] for number in wanted])
        for before, number, text in zip([None, *wanted], wanted, texts, strict=False):
            if before is not None and number != before + 1:
                self._echo(f"    {'':>{width}}  ...")
            self._echo(f"    {number:>{width}}{':' if number in matching else ' '} {text}")

    def _echo(self, line: str) -> None:
        typer.echo(line, color=self.colour)  # else its colours would be taken off in a pipe

    def _coloured(self, chunk: Chunk, lines: list[str]) -> list[str]:
        shown = [printable(line[:_WIDTH]) for line in lines]
        return _highlighted(chunk, shown) if self.colour else shown

    def _place(self, chunk: Chunk, line: int) -> str:
        place = f"{printable(chunk.path if self.terminal else openable(chunk.path))}:{line}"
        return typer.style(place, fg="magenta", bold=True) if self.colour else place


def as_json(
    hit: Hit, *, patterns: Patterns = NO_PATTERNS, explain: bool = False, stale: bool = False, partial: bool = False
) -> dict:
    """A hit as a JSON object."""
    chunk = hit.chunk
    fields = {
        "path": chunk.path,
        "start_line": chunk.start_line,
        "end_line": chunk.end_line,
        "language": chunk.language,
        "name": chunk.name,
        "kind": chunk.kind,
        "score": round(hit.score, 6),
        "alike": hit.alike,
        "stale": stale,
        "tier": hit.tier,
        "partial": partial,
        "snippet": chunk.text,
    }
    if patterns:
        fields["matching_lines"] = matching_lines(chunk, patterns)
    if explain:
        fields["parts"] = {rule: round(value, 6) for rule, value in hit.parts.items()}
    return fields


def matching_lines(chunk: Chunk, patterns: Patterns) -> list[int]:
    """The numbers of the lines in the file that match any pattern."""
    if not patterns:
        return []
    wanted = patterns.matching(chunk.text.split("\n"))
    numbers = _numbers(chunk)
    return sorted(numbers[line] for line in wanted if line in numbers)


def _numbers(chunk: Chunk) -> dict[int, int]:
    """From a line of the chunk to its number in the file; a class leaves out the lines of its methods."""
    lines = chunk.text.split("\n")
    if chunk.start_line + len(lines) - 1 == chunk.end_line:
        return {place: chunk.start_line + place for place in range(len(lines))}
    file = _file_lines(chunk.path)
    numbers, number = {}, chunk.start_line
    for place, line in enumerate(lines):
        while number <= chunk.end_line and number <= len(file) and file[number - 1] != line:
            number += 1
        if number > min(chunk.end_line, len(file)):
            break
        numbers[place] = number
        number += 1
    return numbers or {0: chunk.start_line}


def _lines_around(chunk: Chunk) -> dict[int, str]:
    """Lines by number: those of the file, where it still holds the chunk, else those of the chunk."""
    file = _file_lines(chunk.path)
    indexed = chunk.text.split("\n")
    if file[chunk.start_line - 1 : chunk.start_line] == indexed[:1]:
        return dict(enumerate(file, start=1))
    return {chunk.start_line + place: line for place, line in enumerate(indexed)}


def _file_lines(path: str) -> list[str]:
    from codesage.search.files import read

    document = read(Path(openable(path)), path).document
    return document.text.split("\n") if document is not None else []


def _highlighted(chunk: Chunk, lines: list[str]) -> list[str]:
    """`lines` with the colours of the terminal; unchanged if their language is unknown."""
    from pygments import highlight
    from pygments.formatters import TerminalFormatter
    from pygments.lexers import get_lexer_by_name, get_lexer_for_filename
    from pygments.util import ClassNotFound

    options: dict[str, Any] = {"stripnl": False, "ensurenl": False, "startinline": True}
    try:
        find = (get_lexer_by_name, chunk.language) if chunk.language else (get_lexer_for_filename, chunk.path)
        lexer = find[0](find[1], **options)
    except ClassNotFound:
        return lines
    coloured = highlight("\n".join(lines), lexer, TerminalFormatter()).split("\n")
    return coloured if len(coloured) == len(lines) else lines
