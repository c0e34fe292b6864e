"""Show the progress of a build on stderr: one line that is updated on a terminal, else a new line every few seconds."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from codesage.corpus.report.facts import Progress

_EVERY = 5.0  # seconds between lines


@contextmanager
def shown() -> Iterator[Callable[[Progress], None]]:
    """Gives a function that shows the Progress it is called with, until the block ends."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(stderr=True), transient=True, refresh_per_second=4) as live:
            yield lambda progress: live.update(line_of(progress))
        return
    last = [float("-inf"), ""]

    def show(progress: Progress) -> None:
        now = time.monotonic()
        ended = progress.units == progress.done > 0
        if progress.phase != last[1] or ended or now - last[0] >= _EVERY:
            last[:] = [now, progress.phase]
            print(line_of(progress), file=sys.stderr, flush=True)

    yield show


def line_of(progress: Progress) -> str:
    """A phase in one line: "parse   120/480  12,345/49,380 files  310 files/s  3.1 MB/s  1:05 left"."""
    parts = [f"{progress.phase:<8}{progress.done:,}/{progress.units:,}"]
    if progress.fresh_documents:
        parts.append(f"{progress.documents_done:,}/{progress.documents:,} files")
        parts.append(f"{progress.fresh_documents / progress.seconds:,.0f} files/s")
    if progress.fresh_characters:
        parts.append(f"{progress.fresh_characters / 1e6 / progress.seconds:,.1f} MB/s")
    left = progress.left
    parts.append(f"{_clock(left)} left" if left is not None and progress.done < progress.units else _clock(progress.seconds))
    return "  ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
