"""The command line: it mounts the commands of all packages, and prints failures as one line."""

import atexit
import errno
import gc
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any, TextIO

import typer
import typer.core

from codesage.errors import CodesageError, printable
from codesage.search.defaults import NO_SPINNING


class _Group(typer.core.TyperGroup):
    """The group of all commands. A closed pipe (`| head`) is a success, and Ctrl-C ends with one line."""

    def invoke(self, ctx: Any) -> object:
        """Run a command and flush what it printed."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()
        except BrokenPipeError:
            _discard(sys.stdout)
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            print_error("interrupted; what was indexed or written before is kept")
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Group,
    help="Search code in plain words, and train and measure encoders of source code.",
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
    """Search code in plain words, and train and measure encoders of source code."""


_COMMANDS = {  # by name: the module, and what in it
    "corpus": ("codesage.corpus.commands", "app"),
    "classify": ("codesage.classify.commands", "app"),
    "mcp": ("codesage.agents.commands", "app"),
    "workspace": ("codesage.search.commands", "workspace"),
    "index": ("codesage.search.commands", "index"),
    "search": ("codesage.search.commands", "search"),
    "similar": ("codesage.search.commands", "similar"),
    "clones": ("codesage.search.commands", "clones"),
    "names": ("codesage.names.commands", "names"),
    "status": ("codesage.search.commands", "status"),
    "watch": ("codesage.search.commands", "watch"),
    "clear": ("codesage.search.commands", "clear"),
    "doctor": ("codesage.search.commands", "doctor"),
    "models": ("codesage.search.commands", "models"),
    "tokenizer": ("codesage.corpus.tokens.commands", "tokenizer"),
    "tokens": ("codesage.corpus.tokens.commands", "tokens_command"),
    "pretrain": ("codesage.pretrain.commands", "pretrain"),
    "filter": ("codesage.contrast.commands", "filter_pairs"),
    "mine": ("codesage.contrast.commands", "mine_negatives"),
    "teach": ("codesage.contrast.commands", "teach"),
    "contrast": ("codesage.contrast.commands", "contrast"),
    "initialise": ("codesage.encoder.commands", "initialise"),
    "convert": ("codesage.encoder.commands", "convert"),
    "shrink": ("codesage.encoder.commands", "shrink"),
    "lengthen": ("codesage.encoder.commands", "lengthen"),
    "average": ("codesage.encoder.commands", "average"),
    "evaluate": ("codesage.evaluate.commands", "evaluate"),
    "ablate": ("codesage.ablate.commands", "ablate"),
    "export": ("codesage.encoder.commands", "export"),
    "export-hub": ("codesage.encoder.commands", "export_hub"),
    "serve": ("codesage.serve.commands", "serve"),
}


_MOUNTED: set[str] = set()


def _mount(arguments: Sequence[str] = ()) -> None:
    """Mount only the command that `arguments` name, since each takes time to load; if they name none, mount all."""
    requested = arguments[0] if arguments and arguments[0] in _COMMANDS else ""
    for name in [requested] if requested else _COMMANDS:
        if name in _MOUNTED:
            continue
        _MOUNTED.add(name)
        module, attribute = _COMMANDS[name]
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)


def run() -> None:
    """Entry point of `codesage`: `main`. Commands of search then end at once, as the interpreter's own end takes 18 ms."""
    statuses: list[Any] = []
    of_search = sys.argv[1:] and _COMMANDS.get(sys.argv[1], ("",))[0] == "codesage.search.commands"
    if of_search and "coverage" not in sys.modules:  # which writes its figures at the end
        atexit.register(_leave, statuses)  # it runs after all that is registered later
    try:
        main()
    except SystemExit as ended:
        statuses.append(ended.code or 0)
        raise


def _leave(statuses: list[Any]) -> None:
    """End the process with the exit code in `statuses`, unless there is none or output cannot be written."""
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except (OSError, ValueError):
        return  # Python reports it
    if statuses and isinstance(statuses[0], int):
        os._exit(statuses[0])


def main() -> None:
    """Run a command; called by `run` and by tests. An expected failure is one line on stderr and exit code 2, no traceback."""
    os.environ["PYTHONSAFEPATH"] = "1"  # so that no process that this one starts imports from the folder it works in
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", NO_SPINNING)
    atexit.register(gc.freeze)  # the interpreter need not look for cycles in what ends with the process
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # print what the terminal cannot show in another form
    _mount(sys.argv[1:])
    try:
        app(standalone_mode=True)
    except CodesageError as error:
        _fail(str(error))
    except Exception as error:
        if os.environ.get("CODESAGE_DEBUG"):
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
            _discard(sys.stdout)
        if foreseen := _foreseen(error):
            _fail(foreseen)
        _fail(f"{type(error).__name__}: {' '.join(str(error).split())[:300]} (set CODESAGE_DEBUG=1 for the traceback)")


def _foreseen(error: Exception) -> str:
    """The message for a failure of the system around the program; "" for any other error."""
    if isinstance(error, FileNotFoundError) and not _has_working_folder():
        return "the working folder was deleted: change to another folder"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" of {error.filename}" if error.filename else ""
        return f"no space is left on the disk{where}, so the output is not complete: free some space and run again"
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported for this
        reason = ". ".join(str(error).split(". ")[:2])
        return (
            f"the GPU's memory is full ({reason}): end other programs that use it, or set CUDA_VISIBLE_DEVICES= to use the CPU"
        )
    return ""


def _has_working_folder() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def print_error(message: str) -> None:
    """One line on stderr, which may be closed."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"codesage: {printable(message)}", file=sys.stderr)


def _fail(message: str) -> None:
    print_error(message)
    sys.exit(2)


def _open_closed_streams() -> None:
    """Open standard streams that the caller closed, so that no file opened later gets their numbers and their output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def _discard(stream: TextIO | None) -> None:
    """Discard what is left in a stream that cannot be written. Python would otherwise write it at exit, and fail again."""
    with suppress(OSError, ValueError):
        if stream is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
