"""`codesage ablate`: measure the effect of each part of the training."""

from pathlib import Path
from typing import Annotated

import typer

from codesage.bounds import MOST_MINUTES, MOST_PROCESSES, finite


def ablate(
    tokens: Annotated[Path, typer.Argument(help="A tokens folder with documents, pairs and held-out pairs.")],
    out: Annotated[Path, typer.Option(help="Folder of the records, logs and tables. The same folder resumes.")],
    grid: Annotated[str, typer.Option(help="reduced, full, or a TOML file like those in codesage/ablate/grids.")] = "reduced",
    tokenizer: Annotated[
        Path,
        typer.Option(help="The tokenizer or model folder the tokens were made with. 'default': that of the bundled model."),
    ] = Path("default"),
    teacher: Annotated[
        Path | None, typer.Option(help="Vectors from 'codesage teach', for rows that learn from a teacher.")
    ] = None,
    benchmarks: Annotated[
        Path | None,
        typer.Option(help="Also measure on the data sets in this folder (see 'codesage evaluate'); the grid says on which."),
    ] = None,
    parallel: Annotated[
        int, typer.Option(min=1, max=MOST_PROCESSES, help="Number of runs at a time, on one GPU or one CPU.")
    ] = 1,
    minutes: Annotated[
        float,
        typer.Option(
            min=0,
            max=MOST_MINUTES,
            callback=finite,
            help="Stop after this many minutes; the same command resumes. 0: no limit.",
        ),
    ] = 0.0,
    threads: Annotated[
        int, typer.Option(min=0, max=MOST_PROCESSES, help="CPU threads of each run; 0: an equal share of the cores.")
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the runs and which are finished.")] = False,
    report_only: Annotated[bool, typer.Option("--report-only", help="Only write the tables from the finished runs.")] = False,
) -> None:
    """Train a grid of small models that differ in one thing.

    A report says which differences are larger than chance. Every run has the same budget. A finished run is one JSON file in
    OUT/runs. If the grid is killed, the same command resumes.
    The exit code is 1 if runs failed.
    """
    from codesage.ablate import report, runs
    from codesage.ablate.grid import FOLDER
    from codesage.encoder.runtime import folder_of
    from codesage.evaluate.reports import check_place
    from codesage.machine import processors
    from codesage.training.options import check_threads

    check_place(out, "--out", folder=True)
    check_threads(threads)
    file = FOLDER / f"{grid}.toml" if (FOLDER / f"{grid}.toml").is_file() else Path(grid)
    request = runs.Request(
        file,
        tokens,
        folder_of(tokenizer),
        out,
        teacher,
        benchmarks,
        60 * minutes,
        threads or max(1, processors() // parallel),
    )
    plan, inputs = request.opened()
    if dry_run:
        typer.echo("\n".join(report.listed(plan)))
        return
    finished = report_only or runs.run(request, plan, inputs, parallel=parallel)
    written = report.write(plan)
    typer.echo(written.text)
    counted = report.counted(written.finished, written.failed, len(plan.cells))
    if not finished:
        typer.echo(f"{counted}: repeat the command to resume", err=True)
    elif written.failed:
        typer.echo(f"{counted}: to repeat a failed run, remove its file in {out / 'runs'}", err=True)
    if written.failed:
        raise typer.Exit(1)
