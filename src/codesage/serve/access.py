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


def require_port(host: str, port: int) -> None:
    """CodesageError when this process may not listen there, such as when another server does."""
    import os
    import socket

    try:
        places = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in places:
            with socket.socket(family, kind, protocol) as trial:
                if os.name == "posix":  # elsewhere this option would let two servers share a port
                    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                trial.bind(address)
    except OSError as error:
        raise CodesageError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None


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
