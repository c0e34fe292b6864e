"""Plots of a report: a heat map for each task with every pair of languages; quality against encoding time, width, index size.

In: the JSON record of `codesage evaluate --out`. Out: PNG files in a folder. Nothing is measured here.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _BLUES = "#333333", "Blues"
_COLOURS = ("#1f5fa8", "#c0392b", "#2e8b57", "#b8860b", "#6a4c93", "#444444", "#d2691e", "#008b8b")
_FUSED = " + BM25"
_APART = 1.25  # ratio of neighbouring labels on a logarithmic axis


def draw(record: dict, folder: Path) -> list[Path]:
    """Write the plots that `record` has figures for; returns their files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        _heat_map(task, system, parts, folder)
        for task, systems in record["parts"].items()
        for system, parts in systems.items()
        if all(" to " in part for part in parts)
    ]
    figures = record["figures"]
    encoding = {system: facts for system, facts in record["encoding"].items() if facts["texts"]}
    points = {system: (facts["milliseconds"], _means(figures, system)) for system, facts in encoding.items()}
    if any(means for _, means in points.values()):
        files.append(_lines(points, figures, folder / "quality-and-time.png", "milliseconds to encode a text (log scale)"))
        widths = {system: (facts["width"], _means(figures, system)) for system, facts in encoding.items()}
        if len({width for width, _ in widths.values()}) > 1:
            files.append(_lines(widths, figures, folder / "quality-and-width.png", "width of the vectors (log scale)"))
    for task, systems in figures.items():
        sizes = {name: (one["index_mb"], {task: _quality(one)}) for name, one in systems.items() if "index_mb" in one}
        if sizes:
            files.append(_lines(sizes, figures, folder / "quality-and-index-size.png", "size of the indexes in MB (log scale)"))
    return files


def _means(figures: dict, system: str) -> dict[str, float]:
    """MRR, MAP or NDCG@10 of each task that the system was measured on."""
    return {task: _quality(systems[system]) for task, systems in figures.items() if system in systems}


def _quality(figure: dict[str, float]) -> float:
    return next(figure[metric] for metric in ("map", "mrr", "NDCG@10") if metric in figure)


def _heat_map(task: str, system: str, parts: dict[str, float], folder: Path) -> Path:
    pairs = {tuple(part.split(" to ")): value for part, value in parts.items()}
    languages = list(dict.fromkeys(one for one, _ in pairs))
    side = 1.6 + 0.62 * len(languages)
    figure = _figure(side + 0.8, side)
    axis = figure.subplots()
    grid = [[pairs.get((one, other), float("nan")) for other in languages] for one in languages]
    axis.imshow(grid, cmap=_BLUES, vmin=0, vmax=100)
    axis.set_xticks(range(len(languages)), languages, rotation=45, ha="right")
    axis.set_yticks(range(len(languages)), languages)
    for row, values in enumerate(grid):
        for column, value in enumerate(values):
            if value == value:  # not a number: the pair was not measured
                axis.text(column, row, f"{value:.0f}", ha="center", va="center", color="white" if value > 55 else _INK)
    axis.set_xlabel("language of the answers")
    axis.set_ylabel("language of the query")
    axis.set_title(f"{task}: {system}", color=_INK, loc="left", fontsize=10)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return _saved(figure, folder / f"{_file_name(task)}-{_file_name(system)}.png")


def _lines(points: dict[str, tuple[float, dict[str, float]]], figures: dict, out: Path, title: str) -> Path:
    """A panel for each task: systems as points, by time, width or size."""
    tasks = [task for task in figures if any(task in means for _, means in points.values())]
    figure = _figure(3.1 * len(tasks) + 1.4, 3.2)
    axes = figure.subplots(1, len(tasks), squeeze=False)[0]
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(_models(points))}
    for task, axis in zip(tasks, axes, strict=True):
        for system, (where, means) in points.items():
            if task in means:
                marker = "s" if system.endswith(_FUSED) else "o"
                axis.plot([where], [means[task]], marker, color=colours[system.removesuffix(_FUSED)], label=system)
        axis.axhline(_quality(figures[task]["BM25"]), color=_INK, lw=0.8, ls="--", label="BM25")
        axis.set_xscale("log")
        places = _apart(sorted({where for where, _ in points.values()}))
        axis.set_xticks(places, [f"{where:.3g}" for where in places], minor=False)
        axis.set_xticks([], minor=True)
        axis.set_title(task, color=_INK, loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("MRR, MAP or NDCG x 100")
    figure.supxlabel(title, fontsize=9)
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    return _saved(figure, out)


def _models(systems: Iterable[str]) -> list[str]:
    """The models of these systems; a model and its fusion with full text share a colour."""
    return list(dict.fromkeys(system.removesuffix(_FUSED) for system in systems))


def _apart(places: Sequence[float]) -> list[float]:
    """The places, in ascending order, whose labels do not overlap those before them."""
    kept: list[float] = []
    for place in places:
        if not kept or place >= _APART * kept[-1]:
            kept.append(place)
    return kept


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _saved(figure: "Figure", out: Path) -> Path:
    figure.savefig(out, dpi=110)
    return out


def _file_name(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower()).strip("-")
