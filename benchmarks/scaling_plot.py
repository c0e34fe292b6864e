"""How Stage I scales with the length of documents and with the size of a batch, beside the padded peer, as a picture.

Run: python benchmarks/scaling_plot.py [--out FILE.json] [--picture FILE.png] [--from FILE.json]. Both sides as in
pretrain_speed.py, one process a point: documents cut at 64 to 1,024 tokens in batches of 4,096 real tokens, and documents
cut at 256 in batches of 1,024 to 16,384. --from draws the picture of an earlier run again and measures nothing.
"""

import argparse
import json
import tempfile
from datetime import date
from pathlib import Path

import pretrain_speed
import steps
from codesage.evaluate.reports import environment

SWEEPS = {
    "max_tokens": {"label": "documents cut at so many tokens", "values": (64, 128, 256, 512, 1024), "batch_tokens": 4_096},
    "batch_tokens": {"label": "real tokens a batch", "values": (1_024, 2_048, 4_096, 8_192, 16_384), "max_tokens": 256},
}
SIDES = {"codesage": ("codesage", "#1f5fa8"), "padded": ("transformers, padded", "#c0392b")}
INK = "#333333"


def main() -> None:
    """Measure, or read what was measured; write JSON and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="nano")
    parser.add_argument("--steps", type=int, default=2, help="timed steps a point")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--from", dest="before", type=Path, help="JSON of an earlier run")
    arguments = parser.parse_args()
    record = json.loads(arguments.before.read_text(encoding="utf-8")) if arguments.before else _measured(arguments)
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if arguments.picture:
        _draw(record, arguments.picture)


def _measured(arguments: argparse.Namespace) -> dict:
    points = []
    with tempfile.TemporaryDirectory() as temporary:
        pretrain_speed.prepare(Path(temporary), arguments.size)
        for sweep, shape in SWEEPS.items():
            for value in shape["values"]:
                options = {name: shape[name] for name in SWEEPS if name in shape} | {sweep: value, "steps": arguments.steps}
                for form in SIDES:
                    figures = steps.run(pretrain_speed.__file__, form, Path(temporary), **options)
                    points.append({"sweep": sweep, "value": value, "form": form, **figures})
                    print(f"{sweep} {value}, {form}: {steps.told(figures, 'tokens')}", flush=True)
    return {"date": date.today().isoformat(), **environment(), "size": arguments.size, "points": points}


def _draw(record: dict, picture: Path) -> None:
    """Tokens/s above, peak memory below; a column a sweep."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.2, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    rows = (
        ("thousand tokens/s", lambda point: steps.rate(point, 0) / 1e3),
        ("peak memory, GB", lambda point: point["peak_bytes"] / 1e9),
    )
    grid = figure.subplots(2, 2, sharex="col", sharey="row")
    for column, (sweep, shape) in enumerate(SWEEPS.items()):
        for row, (label, height) in enumerate(rows):
            axis = grid[row][column]
            for form, (name, colour) in SIDES.items():
                points = [point for point in record["points"] if (point["sweep"], point["form"]) == (sweep, form)]
                axis.plot(
                    [point["value"] for point in points],
                    [height(point) for point in points],
                    "o-",
                    color=colour,
                    label=name,
                    linewidth=2,
                    markersize=5,
                )
            axis.set_xscale("log", base=2)
            axis.set_xticks(shape["values"], [f"{value:,}" for value in shape["values"]])
            axis.set_ylabel(label if column == 0 else "")
            axis.grid(alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
        fixed = ", ".join(
            f"{shape[name]:,} tokens {'a batch' if name == 'batch_tokens' else 'a document at most'}"
            for name in SWEEPS
            if name in shape
        )
        grid[0][column].set_title(fixed, color=INK, loc="left", fontsize=10)
        grid[1][column].set_xlabel(shape["label"])
    for row in grid:
        row[0].set_ylim(bottom=0)  # when all is drawn: it ends the scaling of the whole row
    grid[0][0].legend(frameon=False, loc="best")
    figure.suptitle(
        f"Stage I of {record['size']}, {record['cores']} cores of {record['cpu']}",
        color=INK,
        fontweight="bold",
        x=0.01,
        ha="left",
    )
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main()
