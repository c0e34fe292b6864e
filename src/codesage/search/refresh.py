"""Update an index from the command line, with progress and a summary on stderr."""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from codesage.errors import printable
from codesage.records import Encoder
from codesage.search.database import Busy, Unwritable
from codesage.search.files import NESTED
from codesage.search.index import Index

SECONDS = 0.7  # in which a search updates the index and encodes what is left
_EVERY = 5.0  # seconds between two lines off a terminal


def say(message: str) -> None:
    """One line on stderr, which may be closed."""
    if sys.stderr is not None:
        typer.echo(printable(message), err=True)


def refresh(index: Index, encoder: Encoder, *, seconds: float | None = None, own: Collection[Path] = ()) -> None:
    """Update an index and print what was new. `seconds` as in Index.update. After Ctrl-C, print what is kept.

    `own`: the real folders that have an index of their own in the same command; they do not count as skipped.
    """
    try:
        changes = _update(index, encoder, seconds)
    except KeyboardInterrupt:
        index.connection.rollback()
        lack = lacking(index) or "complete"
        say(f"codesage: interrupted: {index.status().files:,} files are indexed and kept ({lack}): the next run resumes there")
        raise typer.Exit(130) from None
    status = index.status()
    if changes["read"] or changes["gone"]:
        by_reason = skipped_of(index, own)
        skipped = sum(by_reason.values())
        reasons = f": {listed(by_reason)}" if skipped else ""
        in_part = f"; {sum(status.in_part.values()):,} indexed in part: {listed(status.in_part)}" if status.in_part else ""
        say(f"{status.files:,} files indexed ({status.chunks:,} chunks), {skipped:,} skipped{reasons}{in_part}")
    if erased := changes["secret"]:
        say(f"erased from the index, because today's rules take them for secret: {erased:,} file{'s' * (erased > 1)}")
    if not status.files:
        say(f"{status.root} holds no text file to index")


def skipped_of(index: Index, own: Collection[Path]) -> Counter:
    """Counts of the skipped files of an index by reason, without repositories that are among the real folders `own`."""
    rows = index.connection.execute(f"SELECT path, reason FROM files WHERE reason IN {NESTED}").fetchall()
    searched = Counter(reason for path, reason in rows if (index.root / path).resolve() in own)
    return Counter(index.status().skipped) - searched


def refresh_or_share(index: Index, encoder: Encoder, *, seconds: float | None = SECONDS, own: Collection[Path] = ()) -> None:
    """As `refresh`. If the index cannot be updated, print why; the search then uses what is indexed.

    While another process indexes, wait until it has committed something.
    """
    busy = f"another process is indexing {index.root}"
    while True:
        try:
            return refresh(index, encoder, seconds=seconds, own=own)
        except Busy:
            if files := index.status().files:
                return say(f"{busy}: answers come from the {files:,} files indexed so far")
        except Unwritable as error:
            if not (files := index.status().files):
                raise
            return say(f"the index could not be updated: {error}; answers come from the {files:,} files indexed so far")
        say(f"{busy}: waiting for it")
        index.wait()


def listed(counts: dict[str, int]) -> str:
    """Counts by reason, the largest first."""
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items(), key=lambda item: -item[1]))


def lacking(index: Index) -> str:
    """What is missing in an index, or ""."""
    if index.pending:
        return f"partial: {index.pending:,} files are not indexed yet"
    status = index.status()
    return f"partial: {status.unencoded:,} of {status.chunks:,} chunks are not encoded yet" if status.unencoded else ""


def _update(index: Index, encoder: Encoder, seconds: float | None) -> Counter:
    lines = {"reading files": Lines("indexing", "files"), "encoding chunks": Lines("encoding", "chunks")}
    with shown(lines) as (reading, encoding):
        return index.update(encoder, progress=reading, encoding=encoding, seconds=seconds)


@contextmanager
def shown(lines: dict[str, "Lines"]) -> Iterator[list[Callable[[int, int], None]]]:
    """Show progress on stderr: for each of `lines` a function of (done, total).

    On a terminal it moves a bar, which appears once there is something to do, unless NO_COLOR or TERM forbids escape sequences.
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if sys.stderr is None or not sys.stderr.isatty() or plain:
        yield list(lines.values())
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bars = Progress(*columns, console=Console(stderr=True), transient=True)

    def moved(title: str) -> Callable[[int, int], None]:
        task = bars.add_task(title, total=None, visible=False)

        def move(done: int, total: int) -> None:
            if total:
                bars.start()
                bars.update(task, completed=done, total=total, visible=True)

        return move

    try:
        yield list(map(moved, lines))
    finally:
        bars.stop()


class Lines:
    """Progress if stderr is no terminal, or one without escape sequences: a line every few seconds, with the remaining time."""

    def __init__(self, doing: str, things: str) -> None:
        self._doing, self._things = doing, things
        self._started = self._said = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Print the progress, if the last line is old enough."""
        now = time.monotonic()
        if not self._started:
            self._started = self._said = now
        if now - self._said >= _EVERY and done < total:
            self._said = now
            left = f", about {(now - self._started) * (total - done) / done:,.0f} s left" if done else ""
            say(f"{self._doing}: {done:,} of {total:,} {self._things}{left}")
