"""`codesage classify`: learn labels of code from examples, measure how well, and label new code."""

import json
from pathlib import Path
from typing import Annotated

import typer

from codesage.encoder.folders import MODEL_HELP

app = typer.Typer(help="Learn labels of code from examples, and label new code.", no_args_is_help=True)
_Device = Annotated[
    str, typer.Option(help="cpu, cuda or cuda:N; auto: a GPU, if there is one, for a folder with weights of torch.")
]
_CodeColumn = Annotated[str, typer.Option(help="Column of the code.")]
_Model = Annotated[Path | None, typer.Option(help=MODEL_HELP)]


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="CSV or JSON lines with a column of code and one of labels.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    model: _Model = None,
    device: _Device = "auto",
    code_column: _CodeColumn = "code",
    label_column: Annotated[str, typer.Option(help="Column of the labels.")] = "label",
    folds: Annotated[int, typer.Option(min=0, help="Folds of the cross-validation; 0: do not measure.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the folds.")] = 0,
) -> None:
    """Train a linear head on the vectors of a model, and report its cross-validation."""
    import codesage
    from codesage.classify import data as rows
    from codesage.classify import folds as measured
    from codesage.classify import head

    read = rows.read(data, code=code_column, label=label_column)
    encoder = codesage.load(model, device=device)
    vectors_ND = encoder.encode(read.texts)
    facts: dict = {"model": encoder.fingerprint, "rows": len(read.texts), "counts": read.counts()}
    if folds:
        validated = measured.cross_validated(vectors_ND, read.labels, folds=folds, seed=seed)
        facts["cross-validation"] = {"folds": folds, **validated.figures()}
        typer.echo(_report(read.labels, validated.predicted))
        typer.echo(f"{folds} folds: " + ", ".join(f"{name} {value}" for name, value in validated.figures().items()))
    strength = measured.best_strength(vectors_ND, read.labels, seed=seed)
    trained = head.fit(vectors_ND, read.labels, strength=strength)
    head.save(trained, out, settings={"strength": strength, "folds": folds, "seed": seed}, facts=facts)
    typer.echo(f"{out}: {len(trained.labels)} labels from {len(read.texts):,} rows")


@app.command()
def apply(
    head: Annotated[Path, typer.Argument(help="A folder that 'codesage classify train' wrote.")],
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Source files, or CSV and JSON lines (.csv, .jsonl, .ndjson, .json) with a column of code."),
    ],
    model: _Model = None,
    device: _Device = "auto",
    code_column: _CodeColumn = "code",
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line, with all probabilities.")] = False,
) -> None:
    """Label code: a line for each source file, or for each row of a table."""
    import codesage
    from codesage.classify import data as rows
    from codesage.classify import head as heads
    from codesage.errors import CodesageError

    trained, facts = heads.load(head)
    fingerprint = str(facts.get("model"))
    encoder = codesage.load(model, precision="torch" if fingerprint.startswith("torch:") else "auto", device=device)
    if fingerprint != encoder.fingerprint:
        raise CodesageError(
            f"{head} was trained on vectors of model {fingerprint}, this is {encoder.fingerprint}: give "
            "--model and --device as in training, or train the head again"
        )
    names, texts = [], []
    for file in inputs:
        read = rows.read(file, code=code_column, labelled=False).texts if _is_table(file) else [_text(file)]
        names += [str(file) if not _is_table(file) else f"{file}:{number}" for number in range(1, len(read) + 1)]
        texts += read
    for name, row_C in zip(names, trained.probabilities(encoder.encode(texts)), strict=True):
        best = int(row_C.argmax())
        if as_json:
            shares = {label: round(float(share), 4) for label, share in zip(trained.labels, row_C, strict=True)}
            typer.echo(json.dumps({"input": name, "label": trained.labels[best], "probabilities": shares}, ensure_ascii=False))
        else:
            typer.echo(f"{name}: {trained.labels[best]} ({row_C[best]:.0%})")


def _is_table(file: Path) -> bool:
    return file.suffix.lower() in (".csv", ".jsonl", ".json", ".ndjson")


def _text(file: Path) -> str:
    from codesage.errors import CodesageError
    from codesage.walk import Skipped, read_text

    read = read_text(file, name=file.name)
    if isinstance(read, Skipped):
        raise CodesageError(f"{file} cannot be read ({read.reason})")
    return read.text


def _report(labels: list[str], predicted: list[str]) -> str:
    """A line for each label: its number of rows, its recall and its precision."""
    names = sorted(set(labels))
    width = max(map(len, [*names, "label"]))
    lines = [f"{'label':<{width}}  {'rows':>6}  {'recall':>6}  precision"]
    for name in names:
        rows = [guess for label, guess in zip(labels, predicted, strict=True) if label == name]
        called = [label for label, guess in zip(labels, predicted, strict=True) if guess == name]
        precision = f"{called.count(name) / len(called):.0%}" if called else "-"
        lines.append(f"{name:<{width}}  {len(rows):>6,}  {rows.count(name) / len(rows):>6.0%}  {precision:>9}")
    return "\n".join(lines)
