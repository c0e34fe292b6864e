"""Bring an index up to date while somebody watches: what is said on stderr meanwhile and after."""

import sys
import time

import typer

from codesage.search.index import Busy, Index

_EVERY = 5.0  # seconds between two lines off a terminal


def say(message: str) -> None:
    """One line on stderr, which may be closed."""
    if sys.stderr is not None:
        typer.echo(message, err=True)


def refresh(index: Index, encoder) -> None:
    """Bring an index up to date, and say what was new. Interrupted, it says what is kept."""
    try:
        changes = _update(index, encoder)
    except KeyboardInterrupt:
        index.connection.rollback()
        say(f"codesage: interrupted: {index.status().files:,} files are indexed and kept, {index.pending:,} are not: "
            "the next run goes on from there")  # fmt: skip
        raise typer.Exit(130) from None
    held = index.status()
    if changes["read"] or changes["gone"]:
        skipped = sum(held.skipped.values())
        reasons = f": {listed(held.skipped)}" if skipped else ""
        say(f"{held.files:,} files indexed ({held.chunks:,} chunks), {skipped:,} skipped{reasons}")
    if not held.files:
        say(f"{held.root} holds no text file to index")


def refresh_or_share(index: Index, encoder) -> None:
    """As `refresh`; while another process does the same, what it has committed must do, once there is something."""
    busy = f"another process is indexing {index.root}"
    while True:
        try:
            return refresh(index, encoder)
        except Busy:
            if files := index.status().files:
                return say(f"{busy}: answers come from the {files:,} files indexed so far")
        say(f"{busy}: waiting for it")
        index.wait()


def listed(counts: dict[str, int]) -> str:
    """Counts by reason, the largest first."""
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items(), key=lambda item: -item[1]))


def _update(index: Index, encoder):
    if sys.stderr is None or not sys.stderr.isatty():
        return index.update(encoder, progress=_Lines())
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("indexing"), BarColumn(), MofNCompleteColumn(), TextColumn("files"), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("indexing", total=None)
        return index.update(encoder, progress=lambda done, total: bar.update(task, completed=done, total=total))


class _Lines:
    """Progress off a terminal: a line every few seconds, with the time that is left."""

    def __init__(self) -> None:
        self._started = self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said >= _EVERY and done < total:
            self._said = now
            left = f", about {(now - self._started) * (total - done) / done:,.0f} s left" if done else ""
            say(f"indexing: {done:,} of {total:,} files{left}")
