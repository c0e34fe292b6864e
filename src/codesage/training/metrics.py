"""The visible output of a run: one line of JSON per step, optional TensorBoard files, one live line on stderr.

In: the numbers of each step. Out: metrics.jsonl. The file is append-only, except that a resumed run first truncates it to the
step it resumes from. With several processes, only the first one writes.
"""

import json
import math
import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from codesage.artifacts import write_whole
from codesage.errors import CodesageError
from codesage.training import processes

FILE = "metrics.jsonl"
_EVERY = 15.0  # seconds between lines if stderr is not a terminal


def read(file: Path) -> list[dict]:
    """The lines of a metrics file, without a last line that a kill cut short."""
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def cut_back(file: Path, *, step: int) -> None:
    """Keep only the lines of steps before `step`; the file is replaced by one rename."""
    lines = [line for line in read(file) if line["step"] < step]
    write_whole(file, "".join(json.dumps(line) + "\n" for line in lines))


class Metrics:
    """Writes the numbers of one run; a context manager. `peak`: floating-point operations per second, 0: unknown."""

    def __init__(self, file: Path, *, stage: str, tensorboard: bool, flops_per_token: float, peak: float) -> None:
        self.stage, self.flops_per_token, self.peak = stage, flops_per_token, peak
        self._first = processes.rank() == 0
        self._board = _board(file.parent / "tensorboard") if tensorboard and self._first else None
        self._file = open(file, "a", encoding="utf-8", buffering=1) if self._first else None  # noqa: SIM115
        self._shown = 0.0
        self._recent: deque[tuple[float, int]] = deque(maxlen=50)

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(self, *error: object) -> None:
        if self._file:
            self._file.close()
        if self._board:
            self._board.close()
        if self._first and sys.stderr.isatty():
            print(file=sys.stderr)

    def write(self, step: int, **numbers: float | str | dict) -> None:
        """Write one line, and its numbers to TensorBoard if enabled."""
        if self._file is None:
            return
        # JSON has no NaN: a loss that is not finite becomes null, and "skipped" gives the reason.
        finite = {name: None if isinstance(x, float) and not math.isfinite(x) else x for name, x in numbers.items()}
        self._file.write(json.dumps({"stage": self.stage, "step": step, **finite}) + "\n")
        if self._board:
            evaluation = numbers.pop("evaluation", {})
            flat = evaluation if isinstance(evaluation, dict) else {}
            for name, value in (flat | numbers).items():
                if isinstance(value, (int, float)):
                    self._board.add_scalar(f"{self.stage}/{name}", value, step)

    def sync(self) -> None:
        """Sync all lines to disk before a checkpoint that relies on them."""
        if self._file:
            self._file.flush()
            os.fsync(self._file.fileno())

    def show(self, step: int, *, loss: float, tokens: int, used: float, seconds: float) -> None:
        """Print the live line: loss, recent tokens/s, share of the device's peak, time left.

        `used`: share of the run, over 1 when the last step ended after the time was up.
        """
        used = min(1.0, used)
        now, terminal = time.perf_counter(), sys.stderr.isatty()
        self._recent.append((now, tokens))
        if not self._first or now - self._shown < (0.2 if terminal else _EVERY):
            return
        self._shown = now
        since, before = self._recent[0]
        rate = (tokens - before) / (now - since) if tokens > before else tokens / max(seconds, 1e-9)
        share = f" ({rate * self.flops_per_token / self.peak:.0%} of peak)" if self.peak else ""
        left = seconds * (1 - used) / used
        print(
            f"{self.stage}  step {step:,}  loss {loss:.3f}  {rate:,.0f} tokens/s{share}  {used:.0%} done, "
            f"{left / 60:.1f} min left",
            end="   \r" if terminal else "\n",
            file=sys.stderr,
            flush=True,
        )


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise CodesageError("TensorBoard is not installed: pip install tensorboard, or omit --tensorboard") from None
    return SummaryWriter(str(folder))
