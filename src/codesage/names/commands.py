"""`codesage names`: names for identifiers of obfuscated or badly named code."""

import json
from pathlib import Path
from typing import Annotated

import typer

from codesage.bounds import MOST, finite


def names(
    file: Annotated[Path, typer.Argument(help="A source file in one of the nine languages.")],
    only: Annotated[list[str] | None, typer.Option("--only", help="Only identifiers of this name; can be repeated.")] = None,
    every: Annotated[
        bool,
        typer.Option(
            "--all", help="All identifiers that the file defines, not only placeholders such as t, a2, var3 and _0x1f."
        ),
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Write the new names into FILE.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the renamed file here; - prints it.", allow_dash=True)] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Print the changes as a unified diff.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    model: Annotated[
        Path | None,
        typer.Option(help="A folder of 'codesage pretrain --names' or of its export. Default: the model of the package."),
    ] = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda or cuda:N; auto: a GPU, if there is one. An exported model runs on the CPU.")
    ] = "auto",
    language: Annotated[str, typer.Option(help="Language of the file. Default: by its suffix.")] = "",
    most: Annotated[
        int, typer.Option(min=1, max=MOST, help="Name at most this many identifiers, the most frequent ones.")
    ] = 200,
    least: Annotated[
        float, typer.Option(min=0, max=1, callback=finite, help="Rename only if the probability of the name is at least this.")
    ] = 0.0,
    beam: Annotated[
        int, typer.Option(min=1, max=100, help="Width of the beam search, for a model without a table of names.")
    ] = 4,
) -> None:
    """Propose names for identifiers, from the code around them. Print a table, a renamed file or a diff."""
    from codesage.names import run
    from codesage.search.refresh import Lines, shown

    if out is not None and str(out) != "-":
        run.check_place(out)
    options = run.Options(tuple(only or ()), every, most, least, beam, language, model, device)
    with shown({"naming identifiers": Lines("naming", "identifiers")}) as (progress,):
        done = run.propose_file(file, options, notice=lambda line: typer.echo(f"codesage: {line}", err=True), progress=progress)
    if diff or write or out is not None:
        text = done.renamed()
        if diff:
            typer.echo(done.diff(text).encode(), nl=False)
        if write:
            run.write(file, text, like=file)
        if out is not None:
            typer.echo(run.encoded(text, like=file), nl=False) if str(out) == "-" else run.write(out, text, like=file)
    elif as_json:
        for row in done.rows():
            typer.echo(json.dumps(row, ensure_ascii=False))
    else:
        typer.echo(done.table())
