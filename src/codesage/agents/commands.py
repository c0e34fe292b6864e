"""`codesage mcp`: connect an agent to the search of your code."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codesage.bounds import MOST_SECONDS, finite
from codesage.encoder.folders import MODEL_HELP
from codesage.errors import CodesageError
from codesage.serve.access import Names, Token, require_port, require_token, served_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.mcpserver import MCPServer

    from codesage.agents.folders import Searched
    from codesage.records import Encoder

app = typer.Typer(help="Connect an agent to the search of your code (MCP).", no_args_is_help=True)


@app.command()
def run(
    root: Annotated[
        list[Path] | None, typer.Option(help="Folder that may be searched; repeatable. Default: the current one.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help=MODEL_HELP)] = None,
    index_dir: Annotated[Path | None, typer.Option(help="Folder of the index; default: in the user's cache.")] = None,
    http: Annotated[bool, typer.Option("--http", help="Serve streamable HTTP instead of standard input and output.")] = False,
    host: Annotated[str, typer.Option(help="With --http: the address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="With --http: the port to listen on.")] = 8765,
    name: Names = None,
    token: Token = "",
    patience: Annotated[
        float, typer.Option(min=0, max=MOST_SECONDS, callback=finite, help="Seconds that a question waits for the index.")
    ] = 15.0,
    store: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Search a store, such as lance://FOLDER, and no folders.")
    ] = None,
) -> None:
    """Run the server: the tools search, similar and status. Agents start it by themselves; see 'codesage mcp install'."""
    import codesage

    if http:
        require_token(host, token)
        require_port(host, port)
    try:
        from codesage.agents.server import server_of
    except ImportError as error:
        raise CodesageError(f"the server needs the MCP SDK ({error}): pip install 'codesage[mcp]'") from None
    folders = searched(root, store, lambda: codesage.load(model), index_dir=index_dir, patience=patience)
    server = server_of(folders)
    if not http:
        server.run("stdio")
        return
    typer.echo(f"codesage: http://{host}:{port}/mcp serves {', '.join(map(str, folders.roots))}", err=True)
    _serve(server, host, port, hosts=served_names(host, port, name or ()), token=token)


def _serve(server: "MCPServer", host: str, port: int, *, hosts: frozenset[str], token: str) -> None:
    """Serve over HTTP. Guard makes the checks, as for `codesage serve`, so the SDK makes none of names and origins."""
    from mcp.server.transport_security import TransportSecuritySettings

    from codesage.serve import connections
    from codesage.serve.guard import Guard

    unchecked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = Guard(server.streamable_http_app(transport_security=unchecked), hosts=hosts, token=token)
    connections.server_of(app, host=host, port=port).run()


def searched(
    roots: list[Path] | None, store: str | None, load: "Callable[[], Encoder]", *, index_dir: Path | None, patience: float
) -> "Searched":
    """What a server searches: folders, or a store. CodesageError when both are given."""
    from codesage.agents.folders import Folders

    if store is None:
        return Folders(roots or [Path()], load, index_dir=index_dir, patience=patience)
    if roots or index_dir:
        raise CodesageError("give a store or folders, not both: a store has its roots and no index here")
    from codesage.agents.stores import StoreFolders

    return StoreFolders(store, load)


@app.command()
def install(
    agent: Annotated[str, typer.Argument(help="claude-code, cursor, vscode, gemini, windsurf, or print: only show the entry.")],
    project: Annotated[Path, typer.Argument(help="Folder of the project that the agent works on.")] = Path(),
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "",
) -> None:
    """Write the server into the configuration of an agent. Everything else in that file stays as it is."""
    from codesage.agents import install as installing

    if agent == "print":
        typer.echo(json.dumps({"mcpServers": {installing.NAME: installing.entry(project, model=model)}}, indent=2))
        return
    file = installing.install(agent, project, model=model)
    file = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    typer.echo(f"{file}: {installing.AGENTS[agent].title} now finds the server 'codesage'; restart it")
