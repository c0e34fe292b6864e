"""`codesage serve`: embeddings, search and a web page over HTTP."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from codesage.encoder.folders import MODEL_HELP

_SWITCH = 0.0005  # seconds until a thread that tokenises lets the event loop go on
_LOCAL = ("127.0.0.1", "localhost", "[::1]")


def serve(
    root: Annotated[list[Path] | None, typer.Argument(help="Folders that may be searched; default: the current one.")] = None,
    model: Annotated[Path | None, typer.Option(help=MODEL_HELP)] = None,
    index_dir: Annotated[Path | None, typer.Option(help="Folder of the index; default: in the user's cache.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8764,
    name: Annotated[list[str] | None, typer.Option(help="Another host name that requests may address, with its port.")] = None,
    token: Annotated[
        str,
        typer.Option(
            help="Bearer token of every request; required if other machines can reach the address.", envvar="CODESAGE_TOKEN"
        ),
    ] = "",
    queue_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens that may wait to be encoded; more is answered with 429.")
    ] = 262_144,
    patience: Annotated[float, typer.Option(min=0, help="Seconds that a search waits for the index.")] = 2.0,
    store: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Search a store, such as lance://FOLDER, and no folders.")
    ] = None,
) -> None:
    """Serve embeddings (as OpenAI's), search and a web page over HTTP."""
    import codesage
    from codesage.agents.commands import searched
    from codesage.errors import CodesageError

    try:
        import uvicorn

        from codesage.serve.app import Service, app_of
        from codesage.serve.guard import Guard
    except ImportError as error:
        raise CodesageError(f"the server needs FastAPI and uvicorn ({error}): pip install 'codesage[serve]'") from None
    if host not in ("127.0.0.1", "localhost", "::1") and not token:
        raise CodesageError(f"{host} can be reached from other machines: give --token, or set CODESAGE_TOKEN")
    encoder = codesage.load(model)
    folders = searched(root, store, lambda: encoder, index_dir=index_dir, patience=patience)
    service = Service(encoder, folders, queue_tokens=queue_tokens)
    hosts = frozenset([f"{one}:{port}" for one in dict.fromkeys([*_LOCAL, host])] + [one.lower() for one in name or []])
    typer.echo(f"codesage: http://{host}:{port} serves {', '.join(map(str, folders.roots))}", err=True)
    config = uvicorn.Config(
        Guard(app_of(service), hosts=hosts, token=token, intake=service.intake),
        host=host,
        port=port,
        log_level="info" if os.environ.get("CODESAGE_DEBUG") else "warning",
        timeout_keep_alive=10,
        limit_concurrency=512,
        timeout_graceful_shutdown=10,
    )
    sys.setswitchinterval(_SWITCH)
    try:
        uvicorn.Server(config).run()
    finally:
        service.batcher.close()
