"""The work of `codesage names`: from a file to its proposals.

In: a path and options. Out: proposals, as rows, as a table, as a renamed text or as a diff. Whatever is left out is counted.
"""

import difflib
import io
import os
import re
import tempfile
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from codesage import syntax
from codesage.errors import CodesageError
from codesage.languages import LANGUAGES, language_named
from codesage.names import rename
from codesage.names.evaluated import in_strings, named_by_strings
from codesage.names.propose import Proposal, Settings, load, propose
from codesage.names.units import FileUnits, Unit, is_placeholder, units
from codesage.syntax.tree import MAX_BYTES, ParseRefused, SourceTree
from codesage.walk import Skipped, read_text, why_unread

_STAYS = "also keys, keyword arguments or members that the file does not define"
_IN_STRINGS = "code in strings may use them (eval and the like)"
_BY_STRINGS = "strings name them, as in x['a']"
_OF_THE_FILE = "the file has its name"


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command; see `codesage names --help`."""

    only: tuple[str, ...] = ()
    every: bool = False
    most: int = 200
    least: float = 0.0
    beam: int = 4
    language: str = ""
    model: Path | None = None
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Result:
    """The proposals for a file."""

    file: Path
    tree: SourceTree
    units: FileUnits
    proposals: tuple[Proposal, ...]
    least: float

    def accepted(self) -> dict:
        """The new name of each unit that changes."""
        changed = [one for one in self.proposals if one.name not in ("", one.unit.name)]
        return {one.unit: one.name for one in changed if one.probability >= self.least}

    def renamed(self) -> str:
        """The text with the new names. CodesageError when the file has syntax errors or would not be equal but for names."""
        if self.tree.has_errors:
            raise CodesageError(
                f"{self.file} has a syntax error {_error_at(self.tree)}: names are only written into a file "
                "that parses, run without --write, --out and --diff to see them"
            )
        return rename.renamed(self.tree, self.units, self.accepted())

    def diff(self, text: str) -> str:
        """A unified diff from the file to `text`, with the line breaks of the file."""
        parts, end = (self.tree.source.decode("utf-8", "replace"), text), _line_break(self.file.read_bytes())
        before, after = (list(io.StringIO(part.replace("\n", end or "\n"), newline="\n")) for part in parts)
        return "".join(difflib.unified_diff(before, after, f"a/{self.file.name}", f"b/{self.file.name}"))

    def rows(self) -> list[dict]:
        """One dictionary for each proposal."""
        breaks = [found.start() for found in re.finditer(b"\n", self.tree.source)]
        return [
            {
                "line": bisect_left(breaks, one.unit.spans[0][0]) + 1,
                "kind": one.unit.kind,
                "name": one.unit.name,
                "occurrences": len(one.unit.spans),
                "proposed": one.name,
                "probability": round(one.probability, 4),
                "others": list(one.others),
            }
            for one in self.proposals
        ]

    def table(self) -> str:
        """A line for each proposal, with its first line in the file."""
        rows = [
            (
                str(row["line"]),
                row["kind"],
                row["name"],
                row["proposed"] or "-",
                f"{row['probability']:.0%}",
                str(row["occurrences"]),
                ", ".join(row["others"]),
            )
            for row in self.rows()
        ]
        head = ("line", "kind", "name", "proposed", "probability", "uses", "alternatives")
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        right = (0, 4, 5)
        lines = [
            "  ".join(
                cell.rjust(width) if column in right else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (head, *rows)
        ]
        return "\n".join(lines)


def propose_file(
    file: Path,
    options: Options,
    *,
    notice: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Result:
    """Proposals for `file`. `notice` is called with a line about what is left out, `progress` as in `propose.propose`.

    CodesageError when the file cannot be read or parsed, its language is not one of the nine, it defines no name, or no
    identifier is selected.
    """
    tree = parsed(file, options.language)
    if tree.has_errors:
        notice(f"{file} has a syntax error {_error_at(tree)}: names near it may be missed")
    file_units = units(tree)
    if not file_units.names:
        raise CodesageError(f"{file} defines no names: there is nothing to rename")
    chosen = _requested_units(tree, file, file_units, options, notice)
    settings = Settings()
    settings = replace(settings, search=replace(settings.search, beam=options.beam))
    proposer = load(options.model, settings, device=options.device)
    proposals = propose(proposer, tree, file_units, chosen, progress=progress)
    return Result(file, tree, file_units, tuple(proposals), options.least)


def parsed(file: Path, language: str = "") -> SourceTree:
    """The parse of a file. CodesageError when it cannot be read, or its language is unknown."""
    read = read_text(file, name=file.name, max_bytes=MAX_BYTES, max_line=MAX_BYTES)  # minified code is one line
    if isinstance(read, Skipped):
        raise CodesageError(why_unread(file, read.reason, max_bytes=MAX_BYTES))
    named = language_named(language) if language else syntax.language_in(file.name, read.text)
    if named not in LANGUAGES:
        what = f"language {language!r}" if language else "its suffix"
        raise CodesageError(f"{file}: {what} is none of {', '.join(LANGUAGES)}: give --language")
    try:
        return syntax.parse(read.text, named, tsx=file.suffix.lower() in (".tsx", ".jsx"), max_line=MAX_BYTES, timed=True)
    except ParseRefused as error:
        raise CodesageError(f"{file}: {error}") from None


def _requested_units(
    tree: SourceTree, file: Path, file_units: FileUnits, options: Options, notice: Callable[[str], None]
) -> list[int]:
    """Numbers of the units to name, in order. `notice` is called with a line about those that are left out."""
    wanted = set(options.only)
    if not all(map(str.strip, wanted)):
        raise CodesageError("--only is empty: give it a name that the file defines")
    requested = [
        name for name in file_units.fixed if name in wanted or (not wanted and (options.every or is_placeholder(name)))
    ]
    missing = wanted - {unit.name for unit in file_units.units} - set(file_units.fixed)
    if missing:
        raise CodesageError(f"{file} defines no {', '.join(sorted(missing))}: give --only a name that the file defines")
    chosen = [
        number
        for number, unit in enumerate(file_units.units)
        if unit.name in wanted or (not wanted and (options.every or is_placeholder(unit.name)))
    ]
    reasons = [(requested, _STAYS)]
    staying_units = (
        (in_strings(tree, file_units), _IN_STRINGS),
        (named_by_strings(tree, file_units), _BY_STRINGS),
        (set() if wanted else _of_the_file(tree, file, file_units), _OF_THE_FILE),
    )
    for staying, reason in staying_units:
        reasons.append((list(dict.fromkeys(unit.name for unit in _among(file_units, chosen) if unit in staying)), reason))
        chosen = [number for number in chosen if file_units.units[number] not in staying]
    stay = "; ".join(f"{', '.join(names[:5])}: {reason}" for names, reason in reasons if names)
    if not chosen and (wanted or options.every):
        raise CodesageError(f"{file}: no name can be changed ({stay})")
    if not chosen:
        kept = f" that can be changed ({stay})" if stay else ""
        raise CodesageError(f"{file}: no name is a placeholder such as t, a2 or var3{kept}: give --only NAME or --all")
    if stay:
        notice(f"{sum(len(names) for names, _ in reasons):,} names stay, {stay}")
    if len(chosen) > options.most:
        notice(f"{len(chosen) - options.most:,} of {len(chosen):,} identifiers keep their names: raise --most to name more")
        often = sorted(chosen, key=lambda number: -len(file_units.units[number].spans))[: options.most]
        chosen = sorted(often)
    return chosen


def _among(file_units: FileUnits, chosen: list[int]) -> list[Unit]:
    return [file_units.units[number] for number in chosen]


def _of_the_file(tree: SourceTree, file: Path, file_units: FileUnits) -> set[Unit]:
    """The class that a file of Java is named after: with another name, the file would not compile."""
    named = tree.language == "java"
    return {unit for unit in file_units.units if named and unit.kind == "class" and unit.name == file.stem}


def _error_at(tree: SourceTree) -> str:
    node = tree.tree.root_node
    while True:
        child = next((child for child in node.children if child.has_error or child.is_missing), None)
        if child is None:
            return f"in line {node.start_point[0] + 1}"
        node = child


def _line_break(content: bytes) -> str:
    """The line break of a file's content; "" where it mixes them."""
    returns = content.count(b"\r")
    if returns and (returns != content.count(b"\r\n") or returns != content.count(b"\n")):
        return ""
    return "\r\n" if returns else "\n"


def encoded(text: str, *, like: Path) -> bytes:
    """`text` with the line breaks of `like`.

    CodesageError when `like` cannot be read, is not UTF-8 without a mark or mixes line breaks, which would be lost.
    """
    try:
        before = like.read_bytes()
    except OSError as error:
        raise CodesageError(f"{like} cannot be read ({error.strerror})") from None
    if before.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise CodesageError(f"{like} has a byte order mark: save it without one first")
    end = _line_break(before)
    if not end:
        raise CodesageError(f"{like} mixes line breaks: save it with one kind first")
    return text.replace("\n", end).encode()


def check_place(file: Path) -> None:
    """CodesageError when `file` could not be written, since a folder is there or its folder is closed; naming takes minutes."""
    folder = file.absolute().parent
    if file.is_dir():
        raise CodesageError(f"{file} cannot be written (it is a folder): give --out a file")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        reason = "must not be written" if folder.is_dir() else "is no folder"
        raise CodesageError(f"{file} cannot be written ({folder} {reason}): choose another --out")


def write(file: Path, text: str, *, like: Path) -> None:
    """Write `text` to `file` whole or not at all, with the line breaks of `like`.

    CodesageError when it cannot be written, or as from `encoded`.
    """
    content = encoded(text, like=like)
    try:
        with tempfile.NamedTemporaryFile(dir=file.absolute().parent, delete=False) as staged:
            staged.write(content)
        if file.exists():
            os.chmod(staged.name, file.stat().st_mode & 0o777)
        os.replace(staged.name, file)
    except OSError as error:
        raise CodesageError(f"{file} cannot be written ({error.strerror})") from None
