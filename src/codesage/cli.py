"""The command line: it mounts the commands of the stations, and turns failures into one line."""

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Annotated, Any, TextIO

import typer
import typer.core

from codesage.errors import CodesageError


class _Group(typer.core.TyperGroup):
    """The commands; a reader that has enough (`| head`) is a success, and what cannot be written is one line."""

    def invoke(self, ctx: Any) -> object:
        """Run a command and flush what it printed."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()
        except BrokenPipeError:
            _to_nowhere(sys.stdout)
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            print_error("interrupted; what was indexed or written before is kept")
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Group,
    help="Train, measure and use encoders of source code.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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
    from codesage.search.commands import clear, clones, doctor, index, models, search, similar, status, watch, workspace
    from codesage.serve.commands import serve

    app.add_typer(corpus, name="corpus")
    app.add_typer(classify, name="classify")
    app.add_typer(agents, name="mcp")
    app.add_typer(workspace, name="workspace")
    for command, name in (
        (index, "index"),
        (search, "search"),
        (similar, "similar"),
        (clones, "clones"),
        (names, "names"),
        (status, "status"),
        (watch, "watch"),
        (clear, "clear"),
        (doctor, "doctor"),
        (models, "models"),
        (tokenizer, "tokenizer"),
        (tokens_command, "tokens"),
        (pretrain, "pretrain"),
        (filter_pairs, "filter"),
        (mine_negatives, "mine"),
        (teach, "teach"),
        (contrast, "contrast"),
        (initialise, "initialise"),
        (evaluate, "evaluate"),
        (ablate, "ablate"),
        (export, "export"),
        (export_hub, "export-hub"),
        (serve, "serve"),
    ):
        app.command(name)(command)


def main() -> None:
    """Entry point of `codesage`: a foreseen failure is one line on stderr and exit code 2, never a traceback."""
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # print what the terminal cannot show in another form
    _mount()
    try:
        app(standalone_mode=True)
    except CodesageError as error:
        _fail(str(error))
    except Exception as error:
        if os.environ.get("CODESAGE_DEBUG"):
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
            _to_nowhere(sys.stdout)
        _fail(f"{type(error).__name__}: {' '.join(str(error).split())[:300]} (set CODESAGE_DEBUG=1 for the traceback)")


def print_error(message: str) -> None:
    """One line on stderr, which may be closed."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"codesage: {message}", file=sys.stderr)


def _fail(message: str) -> None:
    print_error(message)
    sys.exit(2)


def _open_closed() -> None:
    """Standard streams that the caller closed: no file that is opened later may take their numbers, and be written into."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def _to_nowhere(stream: TextIO | None) -> None:
    """What is left in a stream that cannot be written goes nowhere: Python would try again, and complain, at its end."""
    with suppress(OSError, ValueError):
        if stream is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
