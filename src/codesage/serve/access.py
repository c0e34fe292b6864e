"""Who may talk to a server over HTTP: the names that it answers to, and when requests need a token.

`codesage serve` and `codesage mcp run --http` share these rules and options; `guard.py` applies them to requests.
"""

from collections.abc import Iterable
from typing import Annotated

import typer

from codesage.errors import CodesageError

Names = Annotated[list[str] | None, typer.Option(help="Another host name that requests may address, with its port.")]
Token = Annotated[
    str,
    typer.Option(
        help="Bearer token of every request; required if other machines can reach the address.", envvar="CODESAGE_TOKEN"
    ),
]
_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_DEFAULT_PORT = 80  # of http: clients leave it out of the name


def require_token(host: str, token: str) -> None:
    """CodesageError when other machines can reach the address `host`, and there is no token."""
    if not token and not _is_local(host):
        raise CodesageError(f"{host} can be reached from other machines: give --token, or set CODESAGE_TOKEN")


def served_names(host: str, port: int, more: Iterable[str] = ()) -> frozenset[str]:
    """The Host headers that a server answers to: its own names with the port, and `more` as they are."""
    own = {*_LOCAL, f"[{host}]" if ":" in host else host.lower()}
    short = own if port == _DEFAULT_PORT else set()
    return frozenset({f"{name}:{port}" for name in own} | short | {name.lower() for name in more})


def _is_local(host: str) -> bool:
    from ipaddress import ip_address  # here, since the help of all commands imports this module

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
