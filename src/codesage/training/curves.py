"""Plot the curves of a run: loss, gradient norm, learning rate, speed and retrieval against tokens seen.

In: metrics.jsonl. Out: a PNG with one column of panels per stage.
"""

from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from codesage.training.metrics import read

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _BLUE, _PALE, _RED = "#333333", "#1f5fa8", "#a9c4e4", "#c0392b"
_PANELS = ("loss", "gradient norm", "learning rate", "tokens/s", "retrieval")


def draw(metrics: Path, out: Path) -> None:
    """Plot the metrics file `metrics` into the PNG `out`. A file without steps gives no picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    stages = [(stage, list(lines)) for stage, lines in groupby(read(metrics), key=lambda line: line["stage"])]
    stages = [(stage, lines) for stage, lines in stages if any("loss" in line for line in lines)]
    if not stages:
        return
    scored = any("evaluation" in line for _, lines in stages for line in lines)
    panels = _PANELS if scored else _PANELS[:-1]
    width, height = 5.2 * len(stages) + 0.6, 1.9 * len(panels) + 0.6
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    margins = {"left": 0.85 / width, "right": 1 - 0.2 / width, "bottom": 0.5 / height, "top": 1 - 0.3 / height}
    grid = figure.subplots(len(panels), len(stages), squeeze=False, sharex="col", gridspec_kw=margins)
    for column, (stage, lines) in enumerate(stages):
        for row, panel in enumerate(panels):
            axis = grid[row][column]
            _PAINT[panel](axis, lines)
            axis.set_ylabel(panel if column == 0 else "")
            axis.yaxis.set_label_coords(-0.13, 0.5)
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(alpha=0.25)
        grid[0][column].set_title(stage, color=_INK, loc="left", fontweight="bold")
        grid[-1][column].set_xlabel("million tokens")
    figure.savefig(out, dpi=110)


def _steps(lines: list[dict]) -> list[dict]:
    return [line for line in lines if "loss" in line]


def _tokens(lines: list[dict]) -> list[float]:
    return [line["tokens"] / 1e6 for line in lines]


def _smooth(values: list[float]) -> list[float]:
    """Exponential moving average over about an eightieth of the run."""
    weight, mean, weights, averages = max(0.5, 1 - 80 / len(values)), 0.0, 0.0, []
    for value in values:
        mean, weights = weight * mean + (1 - weight) * value, weight * weights + (1 - weight)
        averages.append(mean / weights)
    return averages


def _loss(axis: "Axes", lines: list[dict]) -> None:
    _trend(axis, lines, "loss")
    skipped = [line for line in _steps(lines) if line["skipped"]]
    if skipped:
        axis.plot(
            _tokens(skipped),
            [0.02] * len(skipped),
            "x",
            color=_RED,
            markersize=5,
            label=f"skipped: {len(skipped)}",
            transform=axis.get_xaxis_transform(),
        )
        axis.legend(frameon=False, fontsize=8)


def _norm(axis: "Axes", lines: list[dict]) -> None:
    _trend(axis, lines, "gradient_norm")


def _trend(axis: "Axes", lines: list[dict], name: str) -> None:
    taken = [line for line in _steps(lines) if not line["skipped"]]
    if not taken:
        return
    values = [line[name] for line in taken]
    axis.plot(_tokens(taken), values, color=_PALE, linewidth=0.7)
    axis.plot(_tokens(taken), _smooth(values), color=_BLUE, linewidth=1.5)
    ordered = sorted(values)  # a few early outliers must not flatten the curve
    low, high = ordered[0], ordered[int(0.995 * (len(ordered) - 1))]
    margin = 0.08 * (high - low) or 0.08 * abs(high) or 1.0
    axis.set_ylim(low - margin, high + margin)


def _rate(axis: "Axes", lines: list[dict]) -> None:
    steps = _steps(lines)
    axis.plot(_tokens(steps), [line["rate"] for line in steps], color=_BLUE)
    axis.set_ylim(bottom=0)
    axis.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))


def _speed(axis: "Axes", lines: list[dict]) -> None:
    from matplotlib.ticker import EngFormatter

    steps = _steps(lines)
    stride = max(1, len(steps) // 100)
    marks = steps[::stride]
    pairs = [(a, b) for a, b in pairwise(marks) if b["seconds"] > a["seconds"]]
    rates = [(b["tokens"] - a["tokens"]) / (b["seconds"] - a["seconds"]) for a, b in pairs]
    axis.plot(_tokens([b for _, b in pairs]), rates, color=_BLUE, linewidth=1.0)
    axis.set_ylim(bottom=0)
    axis.yaxis.set_major_formatter(EngFormatter(sep=""))


def _retrieval(axis: "Axes", lines: list[dict]) -> None:
    tokens, scores = 0.0, {}
    for line in lines:
        tokens = line.get("tokens", tokens)
        for name, value in line.get("evaluation", {}).items():
            if isinstance(value, float):
                scores.setdefault(name, []).append((tokens / 1e6, value))
    for name, points in scores.items():
        axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
    if scores:
        axis.legend(frameon=False, fontsize=8)
        axis.set_ylim(0, 1.08 * max(value for points in scores.values() for _, value in points) or 1.0)


_PAINT = {"loss": _loss, "gradient norm": _norm, "learning rate": _rate, "tokens/s": _speed, "retrieval": _retrieval}
