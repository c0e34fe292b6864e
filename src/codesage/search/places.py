"""Find the indexes for the paths that a user gives.

In: folders and files as typed. Out: Places. A Place has a root with an index, the part of it to search, and the form in which
its paths are shown: relative to the working folder, as in ripgrep. For a folder inside another folder with a complete index,
that index is used. A folder of clones is searched as several repositories.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from codesage.errors import CodesageError
from codesage.records import Encoder
from codesage.search.database import DATABASE
from codesage.search.files import NESTED, holds
from codesage.search.folders import default_folder, escaped
from codesage.search.index import Index
from codesage.search.remote import folder_of, members_of
from codesage.walk import name_of

LAST_LINE = 2**31 - 1  # SQLite takes no number of any length
_DEPTH = 2  # folders below one that holds clones in which they are looked for, as in owner/name


@dataclass(frozen=True, slots=True)
class Place:
    """A path that is searched."""

    root: Path  # what the index holds
    below: str = ""  # the file or folder within the root to search; "": all of it
    prefix: str = ""  # what is shown before the path of a file below the root, or below `below`

    def shown(self, path: str) -> str:
        """A path of the index as the user can open it."""
        if self.below:
            path = "" if path == self.below else path[len(self.below) + 1 :]
        elif self.root.is_file():
            path = ""
        return os.path.join(self.prefix, path) if path else self.prefix

    def read_by_globs(self) -> Callable[[str], str]:
        """A function from a path of the index to the path that patterns match.

        It is relative to the working folder if the root is in it, else to the root.
        """
        here, root = Path.cwd(), self.root.resolve()
        root = root.parent if root.is_file() else root
        if root != here and root.is_relative_to(here):
            before = f"{root.relative_to(here).as_posix()}/"
            return lambda path: before + path
        inside = f"{name_of(here, root)}/" if root != here and here.is_relative_to(root) else ""
        return lambda path: path.removeprefix(inside)


def places_of(
    paths: Sequence[Path | str],
    encoder: Encoder,
    *,
    index_dir: Path | None = None,
    separate: bool = False,
    faults: list[CodesageError] | None = None,
) -> list[Place]:
    """The places of `paths`, each once. With `separate` each gets an index, also inside an indexed folder.

    With `separate`, clones of remote repositories are also fetched again. A path may be the address of a git repository, or
    `@` and the name of a workspace (search.remote). CodesageError when a path is missing, or several would share `index_dir`;
    missing paths are added to `faults` instead, if it is given and other paths are there.
    """
    given: dict[Path, str] = {}
    missing: list[CodesageError] = []
    for path in _folders(paths, missing, fetch=separate):
        given.setdefault(Path(path).resolve(), _normal(path))
    if missing and (faults is None or not given):
        raise missing[0]
    if faults is not None:
        faults += missing
    if index_dir is None:
        for real, typed in list(given.items()):
            given |= {
                clone.resolve(): os.path.normpath(os.path.join(typed, clone.relative_to(real))) for clone in clones_below(real)
            }
    kept = {real: typed for real, typed in given.items() if not _is_held(real, given)}
    if index_dir is not None and len(kept) > 1:
        raise CodesageError("--index-dir holds the index of one path: leave it out, or give one path")
    answers = _Answers(encoder)
    with closing(answers):
        own = separate or index_dir is not None
        return [_place(real, "" if typed == "." else typed, None if own else answers) for real, typed in kept.items()]


def _folders(paths: Sequence[Path | str], missing: list[CodesageError], *, fetch: bool) -> Iterator[str]:
    """The folders and files that `paths` stand for; for what is not there, an error is added to `missing`."""
    for typed in map(str, paths):
        try:
            members = members_of(typed)
        except CodesageError as error:
            missing.append(error)
            continue
        for member in members:
            try:
                folder = folder_of(member, fetch=fetch)
            except CodesageError as error:
                missing.append(error)
                continue
            if os.path.exists(folder):
                yield folder
            elif member == typed:
                missing.append(CodesageError(f"{folder}: no such file or folder: give a path that exists"))
            else:
                renewed = f"'codesage workspace add {typed[1:]} PATH...' names its paths anew"
                missing.append(CodesageError(f"{folder} of the workspace {typed}: no such file or folder: {renewed}"))


def _normal(path: str) -> str:
    """A path without `.` and `..`, if that means the same: behind a symbolic link, `..` is another folder."""
    short = os.path.normpath(path)
    return short if Path(short).resolve() == Path(path).resolve() else path


def place_in(text: str) -> tuple[Path, int]:
    """The file and the line of FILE:LINE, or of FILE:LINE:COLUMN, as compilers print it. CodesageError for other forms."""
    file, line = parted(text)
    if not file or not (line.isascii() and line.isdigit()):
        raise CodesageError(f"{text!r} is not a place: expected FILE:LINE, such as src/main.py:12")
    if not line.strip("0"):
        raise CodesageError(f"{text!r} is not a place: lines are counted from 1")
    if len(line) > len(str(LAST_LINE)) or int(line) > LAST_LINE:
        raise CodesageError(f"{line[:20]} is too large for the number of a line: expected one up to {LAST_LINE}")
    return Path(file), int(line)


def parted(text: str) -> tuple[str, str]:
    """What comes before the line in FILE:LINE or FILE:LINE:COLUMN, and the line as typed; ("", "") without a colon."""
    file, _, line = text.removesuffix(":").rpartition(":")
    before, _, earlier = file.rpartition(":")
    if before and earlier.isdecimal() and not os.path.exists(file):
        return before, earlier
    return file, line


def clones_below(folder: Path) -> list[Path]:
    """The repositories in a folder; none if the folder itself is in a repository."""
    if not folder.is_dir() or any(os.path.exists(above / ".git") for above in (folder, *folder.parents)):
        return []
    all_clones, layer = [], [folder]
    for _ in range(_DEPTH):
        layer = [inner for outer in layer for inner in _folders_in(outer)]
        clones = [inner for inner in layer if os.path.exists(inner / ".git")]
        all_clones += clones
        layer = [inner for inner in layer if inner not in clones]
    return sorted(all_clones)


def innermost_repository(real: Path, above: Path) -> Path:
    """The innermost repository that holds a path and lies in the folder `above`; that folder itself if there is none."""
    return next((between for between in _between(real, above) if os.path.exists(between / ".git")), above)


def _folders_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [
                Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
            ]
    except OSError:
        return []


def _is_held(real: Path, given: dict[Path, str]) -> bool:
    """Whether the index of another of the given paths has the files of this one."""
    return any(
        not any(os.path.exists(between / ".git") for between in _between(real, parent)) and holds(parent, real)
        for parent in real.parents
        if parent in given
    )


def _between(real: Path, above: Path) -> list[Path]:
    """A path and its parents in a folder, without that folder."""
    return [path for path in (real, *real.parents) if path.is_relative_to(above) and path != above]


def _place(real: Path, typed: str, answers: "_Answers | None") -> Place:
    """The place of a path; without `answers` it has an index of its own."""
    root = real if os.path.islink(typed) and real.is_file() else Path(typed or ".")
    typed = escaped(typed)
    if answers is not None and not answers.has_index(real):
        for above in real.parents:
            below = name_of(real, above)
            if answers.has_index(above) and answers.holds(above, below):
                return Place(above, below, typed)
    return Place(root, "", typed)


class _Answers:
    """Which indexes can answer for a part of their folder. Each is opened once; close it."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._opened: dict[Path, Index | None] = {}
        self._known: dict[Path, bool] = {}

    def has_index(self, root: Path) -> bool:
        """Whether there is an index of `root`."""
        if root not in self._known:
            self._known[root] = (default_folder(root, self._encoder.fingerprint) / DATABASE).exists()
        return self._known[root]

    def holds(self, root: Path, below: str) -> bool:
        """Whether the index of `root` is complete, and holds files of the part to search."""
        if root not in self._opened:
            try:
                self._opened[root] = Index.open(root, folder=None, encoder=self._encoder, upgrade=False)
            except CodesageError:
                self._opened[root] = None
        index = self._opened[root]
        if index is None:
            return False
        held = index.connection.execute(
            "SELECT 1 FROM files WHERE (path = ? OR (path > ? AND path < ?)) AND reason NOT IN "
            f"{('unreadable', *NESTED)} LIMIT 1",
            (below, f"{below}/", f"{below}0"),
        ).fetchone()
        return held is not None and not index.pending

    def close(self) -> None:
        """Close the indexes."""
        for index in filter(None, self._opened.values()):
            index.close()
