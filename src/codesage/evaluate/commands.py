"""`codesage evaluate`: models and baselines on all available tasks, as Markdown tables and a JSON file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from codesage.evaluate.stage import EncodesTexts


def evaluate(
    models: Annotated[list[str], typer.Argument(metavar="[NAME=]MODEL...", help="Model folders with optional names. 'default': "
                                                "the bundled model; 'minilm': a general encoder for comparison.")],
    corpus: Annotated[Path | None, typer.Option(help="Search the held-out packages of this corpus.")] = None,
    benchmarks: Annotated[Path | None, typer.Option(help="Folder with one folder per benchmark: cosqa, mbxp, java-csharp, "
                                                    "codecomplex (JSON lines).")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Run only this benchmark; can be repeated. Default: all that "
                                                   "exist.")] = None,
    precision: Annotated[str, typer.Option(help="auto, int8, fp32 or torch.")] = "auto",
    dense_weight: Annotated[float, typer.Option(help="Weight of the vectors in the fusion; full text has 1.")] = 1.0,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.")] = None,
    against: Annotated[Path | None, typer.Option(help="Compare with this earlier report, query by query.")] = None,
) -> None:  # fmt: skip
    """Compare models with BM25 and with their fusion: search by MRR, classification by macro F1."""
    from codesage.evaluate import reports, stage

    retrieval, classification = _tasks(corpus, benchmarks, task or [])
    before = None if against is None else reports.read_ranks(against)
    loaded = {name: stage.CachedEncoder(_loaded(path, precision)) for name, path in _named(models).items()}
    figures: dict = {"retrieval": {}, "classification": {}}
    ranks = {}
    for name, group in retrieval.items():
        figures["retrieval"][name], ranks[name] = stage.compare(loaded, group, dense_weight=dense_weight)
    for name, one in classification.items():
        figures["classification"][name] = stage.classified(loaded, one)
    figures["retrieval"] = reports.with_intervals(figures["retrieval"], ranks)
    tables = [reports.table(figures[kind], metric) for kind, metric in (("retrieval", "mrr"), ("classification", "macro F1"))
              if figures[kind]]  # fmt: skip
    typer.echo("\n\n".join(tables))
    if before is not None:
        typer.echo("\n".join(["", f"against {against}:", *reports.differences(ranks, before)]))
    if out is not None:
        record = {"precision": precision, "dense_weight": dense_weight, "tasks": _sizes(retrieval, classification),
                  "figures": figures["retrieval"], "classification": figures["classification"]}  # fmt: skip
        reports.write(out, record, ranks)


def _tasks(corpus: Path | None, benchmarks: Path | None, wanted: list[str]) -> tuple[dict, dict]:
    """Retrieval and classification tasks by name. CodesageError when there are none, or one is unknown or missing."""
    from codesage.errors import CodesageError
    from codesage.evaluate import tasks

    known = [*tasks.RETRIEVAL, *tasks.CLASSIFICATION]
    if unknown := [name for name in wanted if name not in known]:
        raise CodesageError(f"unknown task {unknown[0]!r}: expected {', '.join(known)}")
    retrieval, classification = {}, {}
    if corpus is not None:
        retrieval["held-out pairs"] = [tasks.held_out_pairs(corpus)]
    if benchmarks is not None and not benchmarks.is_dir():
        typer.echo(f"{benchmarks} is not there: its tasks are left out", err=True)
    elif benchmarks is not None:
        there = wanted or [name for name in known if (benchmarks / name).is_dir()]
        retrieval |= {title: load(benchmarks / name) for name, (title, load) in tasks.RETRIEVAL.items() if name in there}
        classification = {title: load(benchmarks / name) for name, (title, load) in tasks.CLASSIFICATION.items()
                          if name in there}  # fmt: skip
    if not retrieval and not classification:
        raise CodesageError("no task to evaluate: give --corpus with held-out packages, or --benchmarks")
    return retrieval, classification


def _named(models: list[str]) -> dict[str, str]:
    pairs = (model.partition("=")[::2] if "=" in model else (Path(model).name, model) for model in models)
    return {name: path for name, path in pairs}


def _loaded(path: str, precision: str) -> "EncodesTexts":
    from codesage.encoder import sentence
    from codesage.encoder.runtime import load

    if path == sentence.MINILM:
        return sentence.load(path, device="cpu")
    return load(None if path == "default" else path, precision=precision)


def _sizes(retrieval: dict, classification: dict) -> dict:
    sizes = {name: {"tasks": len(group), "queries": sum(len(one.queries) for one in group),
                    "candidates": sum(len(one.candidates) for one in group)} for name, group in retrieval.items()}  # fmt: skip
    return sizes | {name: {"rows": len(one.texts), "labels": len(set(one.labels))} for name, one in classification.items()}
