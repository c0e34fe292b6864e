"""Draw the pictures of a data card as PNG: pairs by language, lengths, reasons. Equal facts give equal bytes."""

from pathlib import Path
from typing import TYPE_CHECKING

from codesage.corpus.report.published import PUBLISHED
from codesage.languages import LANGUAGES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {
    "function": "#2a6fbb",
    "class": "#7fb2e5",
    "example": "#e0922f",
    "comment": "#5a9e6f",
    "test": "#a05195",
    "howto": "#c44e52",
    "parallel": "#8c8c8c",
}
_GREY = "#b8b8b8"
_REASONS = 14  # bars


def draw(folder: Path, facts: dict) -> None:
    """Draw languages.png, lengths.png and reasons.png into `folder`."""
    import matplotlib
    from matplotlib.figure import Figure  # not pyplot, which keeps global state and may open windows

    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        for name, size, paint in (
            ("languages", (9, 4.2), _languages),
            ("lengths", (9, 4), _lengths),
            ("reasons", (9, 4.6), _reasons),
        ):
            figure = Figure(figsize=size, dpi=110)  # margins are given below: a layout engine would take half of the time
            paint(figure, facts)
            figure.savefig(folder / f"{name}.png", metadata={"Software": None})


def _languages(figure: "Figure", facts: dict) -> None:
    """Left: pairs by language and kind. Right: the share of each language, here and in the published corpus."""
    names = list(LANGUAGES)
    counts, shares = figure.subplots(1, 2, width_ratios=(3, 2))
    figure.subplots_adjust(left=0.09, right=0.985, top=0.92, bottom=0.2, wspace=0.3)
    base = [0] * len(names)
    for kind, colour in _COLOURS.items():
        sizes = [facts["pairs_by_kind"].get(name, {}).get(kind, 0) for name in names]
        counts.bar(names, sizes, bottom=base, color=colour, label=kind, width=0.7)
        base = [low + size for low, size in zip(base, sizes, strict=True)]
    counts.set_title("training pairs by kind")
    counts.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    counts.tick_params(axis="x", rotation=40)
    counts.legend(frameon=False)
    for offset, colour, label, pairs in (
        (-0.2, "#2a6fbb", "this corpus", base),
        (0.2, _GREY, "published corpus", [PUBLISHED[name][3] for name in names]),
    ):
        rows, percent = [row + offset for row in range(len(names))], [100 * count / max(1, sum(pairs)) for count in pairs]
        shares.barh(rows, percent, 0.38, color=colour, label=label)
    shares.set_yticks(range(len(names)), names)
    shares.invert_yaxis()
    shares.set_title("share of the pairs, %")
    shares.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)


def _lengths(figure: "Figure", facts: dict) -> None:
    """Five quantiles for each language: a thin line from 5 % to 95 %, a thick line from 25 % to 75 %, a dot at the median."""
    names = [name for name in LANGUAGES if name in facts["lengths"]]
    both = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.1, right=0.985, top=0.92, bottom=0.08, wspace=0.05)
    for axes, what in zip(both, ("text words", "code lines"), strict=True):
        for row, name in enumerate(names):
            least, low, middle, high, most = facts["lengths"][name][what]
            axes.plot([least, most], [row, row], color=_GREY, linewidth=2)
            axes.plot([low, high], [row, row], color="#2a6fbb", linewidth=7, solid_capstyle="butt")
            axes.plot([middle], [row], "o", color="white", markeredgecolor="black", markersize=6)
        axes.set_xlim(left=0)
        axes.set_title({"text words": "words in a text", "code lines": "lines of code"}[what] + ": 5, 25, 50, 75, 95 %")
    both[1].set_yticks(range(len(names)), names)
    if names:
        both[1].set_ylim(len(names) - 0.4, -0.6)


def _reasons(figure: "Figure", facts: dict) -> None:
    """The most frequent reasons why files were skipped and pairs dropped."""
    for side, (name, title) in enumerate((("skipped", "files skipped"), ("dropped", "pairs dropped"))):
        counts = sorted(facts[name].items(), key=lambda item: (-item[1], item[0]))[:_REASONS]
        labels = min(0.3, 0.01 + 0.0092 * max((len(reason) for reason, _ in counts), default=0))  # their share of the width
        axes = figure.add_axes((0.5 * side + labels, 0.03, 0.49 - labels, 0.88))
        bars = axes.barh([reason for reason, _ in counts], [count for _, count in counts], color="#2a6fbb")
        axes.bar_label(bars, [f"{count:,}" for _, count in counts], padding=3, fontsize=9)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.45 * max((count for _, count in counts), default=1))
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_title(title if counts else f"{title}: none")
