"""`codesage classify`: learn labels of code from examples, measure how well, and label new code."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codesage.bounds import MOST, MOST_RATE, finite
from codesage.encoder.folders import MODEL_HELP

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from codesage.classify.data import Labelled
    from codesage.classify.folds import Validated
    from codesage.classify.head import Head

app = typer.Typer(help="Learn labels of code from examples, and label new code.", no_args_is_help=True)
_Device = Annotated[
    str,
    typer.Option(
        help="cpu, cuda or cuda:N; auto: a GPU, if there is one, for a folder with weights of torch, and to fine-tune."
    ),
]
_CodeColumn = Annotated[str, typer.Option(help="Column of the code.")]
_Model = Annotated[Path | None, typer.Option(help=MODEL_HELP)]
_FineTune = Annotated[bool, typer.Option("--fine-tune", help="Train the model too, not only the head, and keep both.")]
_Epochs = Annotated[int | None, typer.Option(min=1, max=MOST, help="Epochs of --fine-tune. Default: 5.")]
_Rate = Annotated[
    float | None, typer.Option(min=0.0, max=MOST_RATE, callback=finite, help="Learning rate of --fine-tune. Default: 1e-5.")
]


_SHOWN = 40  # characters of a label in a table
_CURE = "take fewer --folds (0: do not measure), or leave the label out"


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="CSV, JSON lines or Parquet with a column of code and one of labels.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    model: _Model = None,
    device: _Device = "auto",
    code_column: _CodeColumn = "code",
    label_column: Annotated[str, typer.Option(help="Column of the labels.")] = "label",
    folds: Annotated[int, typer.Option(min=0, max=MOST, help="Folds of the cross-validation; 0: do not measure.")] = 5,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the folds, and of the training of --fine-tune.")] = 0,
    fine_tune: _FineTune = False,
    epochs: _Epochs = None,
    learning_rate: _Rate = None,
) -> None:
    """Train a linear head on the vectors of a model, or the model with it, and report its cross-validation."""
    from codesage.artifacts import check_target
    from codesage.classify import data as rows
    from codesage.classify import folds as measured
    from codesage.errors import CodesageError

    check_target(out, "head")
    if not fine_tune and (epochs is not None or learning_rate is not None):
        raise CodesageError("--epochs and --learning-rate are for --fine-tune: without it, the head is trained to its minimum")
    read = rows.read(data, code=code_column, label=label_column)
    settings = {"folds": folds, "seed": seed}
    try:
        measured.check(read.labels, folds, rows.codes(read.texts), cure=_CURE)
    except CodesageError as error:
        raise CodesageError(f"{data}: {error}") from None
    if fine_tune:
        labels = _fine_tuned(read, model, out, device, settings, {"epochs": epochs, "learning_rate": learning_rate})
    else:
        labels = _on_frozen_vectors(read, model, out, device, settings)
    for what, count in read.repeated().items():
        typer.echo(f"{what}: {count:,}" + ("" if "label" in what or not folds else " (equal codes are in one fold)"))
    typer.echo(f"{out}: {len(labels)} labels from {len(read.texts):,} rows")


def _on_frozen_vectors(
    read: "Labelled", model: Path | None, out: Path, device: str, settings: dict[str, int]
) -> tuple[str, ...]:
    """Measure and save a head on the vectors of the model; its labels."""
    import codesage
    from codesage.classify import data, head
    from codesage.classify import folds as measured

    codes = data.codes(read.texts)
    encoder, (folds, seed) = codesage.load(model, device=device), settings.values()
    vectors_ND = encoder.encode(read.texts)
    facts: dict = {"model": encoder.fingerprint, **_counts(read)}
    if folds:
        facts |= _told(measured.cross_validated(vectors_ND, read.labels, codes, folds=folds, seed=seed))
    strength = measured.best_strength(vectors_ND, read.labels, codes, seed=seed)
    trained = head.fit(vectors_ND, read.labels, strength=strength)
    head.save(trained, out, settings={"strength": strength, **settings}, facts=facts)
    return trained.labels


def _fine_tuned(
    read: "Labelled", model: Path | None, out: Path, device: str, settings: dict[str, int], given: dict
) -> tuple[str, ...]:
    """Measure and save a head with the model that was trained with it; its labels. `given`: changes to the protocol."""
    from codesage.classify import data, training, tuned

    start = tuned.read(model, device)
    protocol = replace(training.FINE_TUNED, **{name: value for name, value in given.items() if value is not None})
    extent = training.Extent(**settings, say=lambda line: typer.echo(line, err=True))
    documents = start.token_ids(read.texts)
    facts: dict = _counts(read)
    if extent.folds:
        codes = data.codes(read.texts)
        facts |= _told(training.cross_validated(start.encoder, documents, read.labels, codes, protocol, extent))
    encoder, head = training.fine_tuned(start.encoder, documents, read.labels, protocol, extent)
    used = {"epochs": protocol.epochs, "learning_rate": protocol.learning_rate, "batch": protocol.batch, **settings}
    tuned.save(head, replace(start, encoder=encoder), out, settings=used, facts=facts)
    return head.labels


def _counts(read: "Labelled") -> dict:
    """For the manifest: how many rows there are, and how many have each label or repeat others."""
    repeated = read.repeated()
    return {"rows": len(read.texts), "counts": read.counts()} | ({"repeated": repeated} if repeated else {})


def _told(validated: "Validated") -> dict[str, dict]:
    """Print a cross-validation, and return it for the manifest."""
    folds, figures = len(validated.runs), validated.figures()
    typer.echo(_report(list(validated.labels), validated.predicted))
    typer.echo(f"{folds} folds: " + ", ".join(f"{name} {value}" for name, value in figures.items()))
    return {"cross-validation": {"folds": folds, **figures}}


@app.command()
def apply(
    head: Annotated[Path, typer.Argument(help="A folder that 'codesage classify train' wrote.")],
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Source files, or tables (.csv, .jsonl, .ndjson, .json, .parquet) with a column of code."),
    ],
    model: _Model = None,
    device: _Device = "auto",
    code_column: _CodeColumn = "code",
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line, with all probabilities.")] = False,
) -> None:
    """Label code: a line for each source file, or for each row of a table."""
    from codesage.classify import data as rows
    from codesage.classify import head as heads
    from codesage.errors import printable

    trained, facts = heads.load(head)
    names, texts = [], []
    for file in inputs:
        if _is_table(file):
            read = rows.read(file, code=code_column, labelled=False)
            names += [f"{file}:{line}" for line in read.lines]
            texts += read.texts
        else:
            names.append(str(file))
            texts.append(_text(file))
    for name, row_C in zip(names, _probabilities(head, trained, facts, texts, model, device), strict=True):
        best = int(row_C.argmax())
        if as_json:
            shares = {label: round(float(share), 4) for label, share in zip(trained.labels, row_C, strict=True)}
            typer.echo(json.dumps({"input": name, "label": trained.labels[best], "probabilities": shares}, ensure_ascii=False))
        else:
            typer.echo(printable(f"{name}: {trained.labels[best]} ({row_C[best]:.0%})"))


def _probabilities(
    folder: Path, head: "Head", facts: dict, texts: "Sequence[str]", model: Path | None, device: str
) -> "np.ndarray":
    """Of each label, for each text. CodesageError when the model is not the one that the head was trained with."""
    import codesage
    from codesage.errors import CodesageError

    if facts.get("fine-tuned"):
        if model is not None:
            raise CodesageError(f"{folder} holds the model that was trained with the head: leave out --model")
        from codesage.classify import tuned

        return tuned.read(folder / tuned.FOLDER, device).probabilities(head, texts)
    fingerprint = str(facts.get("model"))
    encoder = codesage.load(model, precision="torch" if fingerprint.startswith("torch:") else "auto", device=device)
    if fingerprint != encoder.fingerprint:
        raise CodesageError(
            f"{folder} was trained on vectors of model {fingerprint}, this is {encoder.fingerprint}: give "
            "--model and --device as in training, or train the head again"
        )
    return head.probabilities(encoder.encode(texts))


def _is_table(file: Path) -> bool:
    return file.suffix.lower() in (".csv", ".jsonl", ".json", ".ndjson", ".parquet")


def _text(file: Path) -> str:
    from codesage.errors import CodesageError
    from codesage.walk import Skipped, read_text, why_unread

    read = read_text(file, name=file.name)
    if isinstance(read, Skipped):
        raise CodesageError(why_unread(file, read.reason))
    return read.text


def _report(labels: list[str], predicted: list[str]) -> str:
    """A line for each label: its number of rows, its recall and its precision."""
    from codesage.errors import printable

    names = sorted(set(labels))
    shown = {name: printable(name if len(name) <= _SHOWN else f"{name[: _SHOWN - 3]}...") for name in names}
    width = max(map(len, [*shown.values(), "label"]))
    lines = [f"{'label':<{width}}  {'rows':>6}  {'recall':>6}  precision"]
    for name in names:
        rows = [guess for label, guess in zip(labels, predicted, strict=True) if label == name]
        called = [label for label, guess in zip(labels, predicted, strict=True) if guess == name]
        precision = f"{called.count(name) / len(called):.0%}" if called else "-"
        lines.append(f"{shown[name]:<{width}}  {len(rows):>6,}  {rows.count(name) / len(rows):>6.0%}  {precision:>9}")
    return "\n".join(lines)
