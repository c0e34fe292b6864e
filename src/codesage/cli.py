"""The command line: it mounts the commands of the stations, and turns failures into one line."""

import io
import os
import sys
from typing import Annotated

import typer

from codesage.errors import CodesageError

app = typer.Typer(
    help="Train, measure and use encoders of source code.", no_args_is_help=True,
    pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip


def _print_version(requested: bool) -> None:
    if requested:
        from codesage import __version__

        typer.echo(f"codesage {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train, measure and use encoders of source code."""


def _mount() -> None:
    from codesage.ablate.commands import ablate
    from codesage.agents.commands import app as agents
    from codesage.classify.commands import app as classify
    from codesage.contrast.commands import contrast, filter_pairs, mine_negatives, teach
    from codesage.corpus.commands import app as corpus
    from codesage.corpus.tokens.commands import tokenizer, tokens_command
    from codesage.encoder.commands import export, export_hub, initialise
    from codesage.evaluate.commands import evaluate
    from codesage.names.commands import names
    from codesage.pretrain.commands import pretrain
    from codesage.search.commands import index, search, similar, status
    from codesage.serve.commands import serve

    app.add_typer(corpus, name="corpus")
    app.add_typer(classify, name="classify")
    app.add_typer(agents, name="mcp")
    for command, name in (
        (index, "index"), (search, "search"), (similar, "similar"), (names, "names"), (status, "status"),
        (tokenizer, "tokenizer"), (tokens_command, "tokens"), (pretrain, "pretrain"), (filter_pairs, "filter"),
        (mine_negatives, "mine"), (teach, "teach"), (contrast, "contrast"), (initialise, "initialise"), (evaluate, "evaluate"),
        (ablate, "ablate"), (export, "export"), (export_hub, "export-hub"), (serve, "serve"),
    ):  # fmt: skip
        app.command(name)(command)


def main() -> None:
    """Entry point of `codesage`: a foreseen failure is one line on stderr and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # print what the terminal cannot show in another form
    _mount()
    try:
        app(standalone_mode=True)
    except CodesageError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print("codesage: interrupted; what was indexed or written before is kept", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("CODESAGE_DEBUG"):
            raise
        _fail(f"{type(error).__name__}: {' '.join(str(error).split())[:300]} (set CODESAGE_DEBUG=1 for the traceback)")


def _fail(message: str) -> None:
    print(f"codesage: {message}", file=sys.stderr)
    sys.exit(2)
