"""`codesage evaluate`: models and baselines on all available tasks, as Markdown tables and a JSON file."""

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codesage.bounds import MOST, MOST_WEIGHT, finite
from codesage.search.defaults import DENSE_WEIGHT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from codesage.classify.folds import Validated
    from codesage.evaluate.reports import Report
    from codesage.evaluate.tasks import ClassificationTask, CloneTask, RepositoryTask, Task


_TAKEN = re.compile(r"BM25( words)?|.* \+ BM25|.*, width \d+", re.DOTALL)  # names of baselines, fusions and cut vectors


class Classifier(StrEnum):
    """How a classifier is trained on the vectors of a model."""

    exact = "exact"
    frozen = "frozen"
    finetuned = "finetuned"


_Models = Annotated[
    list[str],
    typer.Argument(
        metavar="[NAME=]MODEL...",
        help="Model folders with optional names, also of sentence-transformers. 'default', 'general': the bundled models; "
        "'static': the token vectors of search, without context; 'random': random weights; 'minilm': a general encoder.",
    ),
]
_Data = Annotated[
    Path | None,
    typer.Option(
        "--benchmarks",
        "--data",
        help="Folder with a folder for each data set, in the layout of its authors: cosqa, advtest, codesearchnet, codenet, "
        "poj104, bigclonebench, mbxp, java-csharp, codecomplex, defect, runtime-error, repository-search.",
    ),
]
_Task = Annotated[
    list[str] | None,
    typer.Option(
        help="Run only this data set; repeatable. Default: all in --benchmarks except repository-search, which takes minutes "
        "for each model. packages: search the held-out packages of --corpus as a whole."
    ),
]
_Download = Annotated[
    bool,
    typer.Option(
        "--download",
        help="Fetch missing data sets of --task, from where their authors publish them, into the cache; for repository-search, "
        "fetch the repositories.",
    ),
]
_Device = Annotated[
    str,
    typer.Option(help="cpu, cuda or cuda:N; auto: a GPU, if there is one, for folders with weights of torch, and to train."),
]
_ClassifierKind = Annotated[
    Classifier,
    typer.Option(help="exact: a linear head, trained to its minimum; frozen, finetuned: as in the paper, three seeds."),
]
_KeepLanguage = Annotated[
    bool,
    typer.Option(
        help="Compare code across languages by plain cosine, as published, without removing the language from the vectors."
    ),
]
_AsPublished = Annotated[
    bool,
    typer.Option(
        help="As in the paper's evaluation: queries as typed, one space between the words of text and of code, and "
        "--keep-language.",
    ),
]
_DenseWeight = Annotated[
    float,
    typer.Option(
        min=0,
        max=MOST_WEIGHT,
        callback=finite,
        help="Weight of the vectors in the fusion; full text has 1. Default: that of search.",
    ),
]
_Width = Annotated[
    list[int] | None, typer.Option(min=1, max=MOST, help="Also measure vectors cut to this width; can be repeated.")
]


def evaluate(
    models: _Models,
    corpus: Annotated[Path | None, typer.Option(help="Search the held-out packages of this corpus.")] = None,
    benchmarks: _Data = None,
    task: _Task = None,
    download: _Download = False,
    precision: Annotated[str, typer.Option(help="auto, int8, fp32 or torch.")] = "auto",
    device: _Device = "auto",
    dense_weight: _DenseWeight = DENSE_WEIGHT,
    classifier: _ClassifierKind = Classifier.exact,
    keep_language: _KeepLanguage = False,
    as_published: _AsPublished = False,
    width: _Width = None,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Draw plots of the figures into this folder.")] = None,
    against: Annotated[Path | None, typer.Option(help="Compare with this earlier report, query by query.")] = None,
) -> None:
    """Compare models with BM25. Search is measured by MRR, MAP or NDCG, classification by macro F1, clones by F1."""
    from codesage.evaluate import models as encoders
    from codesage.evaluate import reports, sets, stage

    def say(line: str) -> None:
        typer.echo(line, err=True)

    _check_outputs(out, plots)
    paths = _named(models)
    revisions: dict[str, dict[str, str]] = {}
    tasks = sets.read(corpus, benchmarks, task or [], download=download, say=say, revisions=revisions)
    tasks = sets.as_published(tasks) if as_published else tasks
    before, parts_before = ({}, {}) if against is None else reports.read_ranks(against)
    loaded = {
        name: stage.CachedEncoder(
            encoders.load(path, precision=precision, device=device, as_typed=as_published),
            name,
            progress=lambda texts, name=name: say(f"{name}: encoding {texts:,} texts"),
        )
        for name, path in paths.items()
    }
    report = reports.Report()
    systems = loaded | {
        f"{name}, width {cut}": stage.Truncated(one, cut) for cut in width or () for name, one in loaded.items()
    }
    for number, (title, group) in enumerate(tasks.items(), 1):
        say(f"{title}: task {number} of {len(tasks)}")
        report.note(sets.notes(title, group))
        if isinstance(group[0], sets.ClassificationTask):
            told = _classification(systems, paths, group[0], classifier, device)
            _add(report, title, "macro F1", group[0], {name: (one.figures(), one.outcomes()) for name, one in told.items()})
        elif isinstance(group[0], sets.RepositoryTask):
            _search(report, title, group[0], systems, dense_weight, say)
        else:
            _compare(report, title, group, systems, dense_weight, centred=not (keep_language or as_published))
    record = {
        "precision": precision,
        "device": device,
        "dense_weight": dense_weight,
        "classifier": classifier.value,
        "keep_language": keep_language or as_published,
        "as_published": as_published,
        "seeds": _seeds(classifier),
        "tasks": sets.sizes(tasks),
        "revisions": revisions,
        **report.record(),
        "encoding": {name: one.facts() for name, one in systems.items()},
    }
    if out is not None:  # before anything is printed, since the reader of a pipe may be gone
        reports.write(out, record, report.values, report.parts)
    typer.echo(report.text())
    typer.echo("\n".join(["", f"against {next(iter(paths))}:", *reports.between(report.values, next(iter(paths)))]))
    if against is not None:
        changed = reports.changed(report.parts, parts_before)
        typer.echo("\n".join(["", f"against {against}:", *reports.differences(report.values, before, changed)]))
    if plots is not None:
        from codesage.evaluate.plots import draw

        typer.echo("\n" + "\n".join(map(str, draw(record, plots))))


def _compare(
    report: "Report", title: str, group: "Sequence[Task]", systems: dict, dense_weight: float, *, centred: bool
) -> None:
    """Add the figures of clones, or of search among candidates."""
    from codesage.evaluate import reports, sets, stage

    if isinstance(group[0], sets.CloneTask):
        _add(report, title, "F1", group[0], stage.called_clones(systems, group[0]))
        return
    metric = "map" if isinstance(group[0], sets.GroupTask) else "mrr"
    searched = [one for one in group if isinstance(one, sets.RetrievalTask | sets.GroupTask)]
    figures, values = stage.compare(systems, searched, dense_weight=dense_weight, centred=centred)
    report.add(title, metric, figures, values, [reports.Part(one.name, one.digest()) for one in searched])


def _add(report: "Report", title: str, metric: str, task: "ClassificationTask | CloneTask", told: dict) -> None:
    """Add the figures of rows or pairs. `told`: by system, figures and outcomes."""
    from codesage.evaluate import reports

    figures, values = ({name: one[side] for name, one in told.items()} for side in (0, 1))
    parts = [reports.Part(task.name, task.digest())]
    report.add(title, metric, figures, {name: [outcomes] for name, outcomes in values.items()}, parts)


def _search(
    report: "Report",
    title: str,
    task: "RepositoryTask",
    systems: dict,
    dense_weight: float,
    say: "Callable[[str], None]",
) -> None:
    """Add the figures of search in whole repositories."""
    from codesage.evaluate import reports, repositories, searching

    figures, values = searching.compare(
        {name: one.for_search for name, one in systems.items()},
        task,
        repositories.repositories_folder() / "indexes",
        dense_weight=dense_weight,
        say=say,
    )
    parts = [reports.Part(one.name, one.digest()) for one in task.searched]
    report.add(title, searching.METRIC, figures, values, parts)


def _classification(
    systems: dict, paths: dict[str, str], task: "ClassificationTask", classifier: Classifier, device: str
) -> "dict[str, Validated]":
    """By system. Fine-tuning needs weights, so it leaves other encoders out and says so."""
    from codesage.evaluate import classifiers, stage

    if classifier == Classifier.exact:
        return stage.classified(systems, task)
    return classifiers.measured(
        systems,
        paths,
        task,
        tuned=classifier == Classifier.finetuned,
        device=device,
        say=lambda line: typer.echo(line, err=True),
    )


def _seeds(classifier: Classifier) -> dict[str, int | list[int]]:
    """For the report: of every draw by chance."""
    from codesage.evaluate.tasks import SEED

    seeds: dict[str, int | list[int]] = dict.fromkeys(("bootstrap", "folds", "sampling", "random weights"), SEED)
    if classifier == Classifier.exact:
        return seeds
    from codesage.classify import training

    protocol = training.FROZEN if classifier == Classifier.frozen else training.FINE_TUNED
    return seeds | {"classifier": list(range(protocol.seeds)), "folds": list(range(protocol.seeds))}


def _check_outputs(out: Path | None, plots: Path | None) -> None:
    """CodesageError when the report or the plots could not be written; measuring takes minutes or hours."""
    from codesage.evaluate import reports

    if out is not None:
        reports.check_place(out, "--out")
    if plots is not None:
        reports.check_place(plots, "--plots", folder=True)


def _named(models: list[str]) -> dict[str, str]:
    """Paths by name. CodesageError when two models have one name, or one has the name of another system."""
    from codesage.errors import CodesageError

    paths: dict[str, str] = {}
    for model in models:
        name, path = model.partition("=")[::2] if "=" in model else (Path(model).name, model)
        if not name or not path:
            raise CodesageError(f"{model!r} lacks a name or a model: expected a model, or NAME=MODEL")
        if _TAKEN.fullmatch(name):
            raise CodesageError(f"{name!r} is the name of another system: give {path} another name, as in one={path}")
        if paths.setdefault(name, path) != path:
            raise CodesageError(f"{paths[name]} and {path} are both called {name!r}: give them names, as in one={path}")
    return paths
