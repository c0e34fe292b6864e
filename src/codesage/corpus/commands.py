"""`codesage corpus build` and `codesage corpus stats`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Build a corpus from source trees, and look at one.", no_args_is_help=True)


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="Folder to write the corpus to.")],
    paths: Annotated[list[Path] | None, typer.Argument(help="Folders or files of source code.")] = None,
    stdlib: Annotated[bool, typer.Option(help="Also the Python standard library.")] = False,
    packages: Annotated[list[Path] | None, typer.Option(help="Also the packages in a site-packages folder.")] = None,
    any_licence: Annotated[bool, typer.Option(help="Packages without a permissive licence too.")] = False,
    held_out: Annotated[list[str] | None, typer.Option(help="Package that only gives evaluation pairs.")] = None,
    exclude_benchmarks: Annotated[Path | None, typer.Option(help="Keep what these JSON lines hold out.")] = None,
    classes: Annotated[bool, typer.Option(help="Pairs of classes too.")] = False,
    workers: Annotated[int, typer.Option(help="Processes that parse; 0: one a core.")] = 0,
) -> None:
    """Read source files into documents, functions and (text, code) pairs, as Parquet with a manifest."""
    from itertools import chain

    from codesage.corpus import sources, stage

    found = [sources.folder(path) for path in paths or []]
    found += [sources.standard_library()] if stdlib else []
    found += [sources.packages(path, any_licence=any_licence) for path in packages or []]
    settings = stage.Settings(tuple(held_out or ()), str(exclude_benchmarks or ""), classes, workers)
    with _counting("documents") as progress:
        artifact = stage.build(settings, chain.from_iterable(found), out, progress=progress)
    _show(artifact.facts)


@app.command()
def stats(corpus: Annotated[Path, typer.Argument(help="A corpus folder.")]) -> None:
    """Print what a corpus holds, and what was left out and why."""
    from codesage.artifacts import open_artifact

    _show(open_artifact(corpus, "corpus").facts)


def _show(facts: dict) -> None:
    languages = sorted(facts["documents"])
    typer.echo("| language | documents | functions and classes | pairs | held-out pairs |\n|---|---:|---:|---:|---:|")
    for language in languages:
        cells = [f"{facts[name].get(language, 0):,}" for name in ("documents", "functions", "pairs", "held_out_pairs")]
        typer.echo(f"| {language} | " + " | ".join(cells) + " |")
    for name in ("skipped", "dropped"):
        reasons = sorted(facts[name].items(), key=lambda item: -item[1])
        typer.echo(f"{name}: " + (", ".join(f"{count:,} {reason}" for reason, count in reasons) or "nothing"))


def _counting(what: str):
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    @contextmanager
    def counting():
        columns = (SpinnerColumn(), TextColumn("{task.completed:,} " + what), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done: bar.update(task, completed=done)

    return counting()
