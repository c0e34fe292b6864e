"""`codesage serve`: embeddings, search and a web page over HTTP."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from codesage.bounds import MOST, MOST_SECONDS, finite
from codesage.encoder.folders import MODEL_HELP
from codesage.serve.access import Names, Token, require_port, require_token, served_names

_SWITCH = 0.0005  # seconds until a thread that tokenises lets the event loop go on


def serve(
    root: Annotated[list[Path] | None, typer.Argument(help="Folders that may be searched; default: the current one.")] = None,
    model: Annotated[Path | None, typer.Option(help=MODEL_HELP)] = None,
    index_dir: Annotated[Path | None, typer.Option(help="Folder of the index; default: in the user's cache.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8764,
    name: Names = None,
    token: Token = "",
    queue_tokens: Annotated[
        int, typer.Option(min=1, max=MOST, help="Tokens that may wait to be encoded; more is answered with 429.")
    ] = 262_144,
    patience: Annotated[
        float, typer.Option(min=0, max=MOST_SECONDS, callback=finite, help="Seconds that a search waits for the index.")
    ] = 2.0,
    store: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Search a store, such as lance://FOLDER, and no folders.")
    ] = None,
) -> None:
    """Serve embeddings, search and a web page over HTTP. Embeddings have the format of OpenAI's API."""
    import codesage
    from codesage.agents.commands import searched
    from codesage.errors import CodesageError

    try:
        from codesage.serve import connections
        from codesage.serve.app import Service, app_of
        from codesage.serve.guard import Guard
    except ImportError as error:
        raise CodesageError(f"the server needs FastAPI and uvicorn ({error}): pip install 'codesage[serve]'") from None
    require_token(host, token)
    require_port(host, port)
    encoder = codesage.load(model)
    folders = searched(root, store, lambda: encoder, index_dir=index_dir, patience=patience)
    service = Service(encoder, folders, queue_tokens=queue_tokens)
    typer.echo(f"codesage: http://{host}:{port} serves {', '.join(map(str, folders.roots))}", err=True)
    guarded = Guard(app_of(service), hosts=served_names(host, port, name or ()), token=token, intake=service.intake)
    level = "info" if os.environ.get("CODESAGE_DEBUG") else "warning"
    sys.setswitchinterval(_SWITCH)
    try:
        connections.server_of(guarded, host=host, port=port, log_level=level).run()
    finally:
        service.batcher.close()
