"""Refuse requests: foreign hosts and origins, a missing token, a full queue, bodies that are too large or too slow.

In: an ASGI application. Out: the same behind these checks, in this order. A web page of another site can reach a server on this
machine through the browser (DNS rebinding), so the Host header must name this server, and an Origin header must too. A body
takes room only as it arrives, so a client that is slow to send one keeps nobody else out. A long answer is passed on in pieces,
as the client reads it. If clients leave too much unread, the answer that is unread for longest is given up.
"""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from codesage.serve.batching import Closed, Full

Scope = MutableMapping
Receive = Callable[[], Awaitable[dict]]
Send = Callable[[dict], Awaitable[None]]
_PIECE = 64 << 10  # bytes of an answer that are passed on at a time
_OPEN_PATHS = frozenset({"/", "/health", "/app.js", "/style.css"})  # without a token: they tell nothing of anybody's code


class _Refused(Exception):
    """A request that is not passed on: its status and one line."""


class _GivenUp(Exception):
    """An answer that its client has not read while too much was unread."""


@dataclass(slots=True)
class _Share:
    """The bytes of one request among those held."""

    size: int = 0


class Guard:
    """The checks around an ASGI application."""

    def __init__(
        self,
        app: Callable,
        *,
        hosts: frozenset[str],
        token: str = "",
        most_bytes: int = 8 << 20,
        most_bytes_held: int = 64 << 20,
        most_unread: int = 128,
        body_seconds: float = 30.0,
        intake: Callable[[str, int], AbstractContextManager] = lambda path, size: nullcontext(),
    ) -> None:
        """`hosts`: the names, with port, that a request may address; `token`: that it must bring, "" for none.

        `most_bytes`: of a body; `most_bytes_held`: of the bodies of all requests that are being read or answered, and as much
        again of the long answers that are being sent, which are at most `most_unread`. `intake` is
        entered with the path and the bytes of each request: for a moment before its body is read, to see whether there is room
        (0 bytes when the length is not known), and again once the body is there, until the answer. Full and Closed refuse it.
        """
        self._intake = intake
        self._app, self._hosts, self._token = app, hosts, token
        self._most_bytes, self._body_seconds = most_bytes, body_seconds
        self._held, self._most_bytes_held, self._most_unread = 0, most_bytes_held, most_unread
        self._unread: dict[asyncio.Timeout, int] = {}  # bytes of the long answers that are being sent, oldest first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, read its body, and pass it on; anything else than HTTP passes as it is."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if refused := self._refusal(scope["path"], headers):
            await _error(send, *refused)
            return
        share, begun = _Share(), False

        async def noted(message: dict) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._answer(scope, receive, noted, int(headers.get("content-length", 0)), share)
        except (Full, Closed) as error:
            await _error(send, 429 if isinstance(error, Full) else 503, str(error))
        except _Refused as refused:
            await _error(send, *refused.args)
        except _GivenUp:
            pass  # the server closes the connection, as the answer is not complete
        except asyncio.CancelledError:  # the server stops, and has waited long enough
            if not begun:
                await _error(send, 503, "the server is stopping: ask again later")
        finally:
            self._held -= share.size

    async def _answer(self, scope: Scope, receive: Receive, send: Send, declared: int, share: _Share) -> None:
        self._require_room(declared)
        with self._intake(scope["path"], declared):
            pass
        body = await self._body(receive, share)
        if body is None:
            return
        sent = False

        async def once() -> dict:
            nonlocal sent
            if sent:
                return await receive()  # tells when the client leaves
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        with self._intake(scope["path"], len(body)):
            await self._app(scope, once, lambda message: self._send(send, message))

    async def _send(self, send: Send, message: dict) -> None:
        """Pass on a part of an answer, in pieces, each once the client has read the one before."""
        body, more = message.get("body", b""), message.get("more_body", False)
        if len(body) <= _PIECE:
            await send(message)
            return
        patience = asyncio.timeout(None)
        try:
            async with patience:
                self._make_room(len(body))
                self._unread[patience] = len(body)
                for start in range(0, len(body), _PIECE):
                    piece = {"body": body[start : start + _PIECE], "more_body": more or start + _PIECE < len(body)}
                    await send({"type": "http.response.body", **piece})
        except TimeoutError:
            raise _GivenUp from None
        finally:
            self._unread.pop(patience, None)

    def _make_room(self, size: int) -> None:
        """Give up the oldest unread answers until one of this size fits, or there are none."""
        while self._unread and (
            len(self._unread) >= self._most_unread or sum(self._unread.values()) + size > self._most_bytes_held
        ):
            oldest = next(iter(self._unread))
            del self._unread[oldest]
            oldest.reschedule(0)  # it has expired

    def _require_room(self, size: int) -> None:
        if size and self._held + size > self._most_bytes_held:
            raise _Refused(429, "too many large requests at a time: ask again in a second")

    def _refusal(self, path: str, headers: dict[str, str]) -> tuple[int, str] | None:
        if headers.get("host", "").lower() not in self._hosts:
            return 421, "this host name is not served here"
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in {f"http://{host}" for host in self._hosts}:
            return 403, "requests of other sites are refused"
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if self._token and path not in _OPEN_PATHS and not hmac.compare_digest(given.encode(), self._token.encode()):
            return 401, "the bearer token is missing or wrong"
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._most_bytes:
            return self._too_large()
        return None

    def _too_large(self) -> tuple[int, str]:
        return 413, f"the body has more than {self._most_bytes:,} bytes: send fewer texts at a time"

    async def _body(self, receive: Receive, share: _Share) -> bytes | None:
        """The whole body; None when the client leaves. Its bytes are added to `share` as they arrive."""
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(self._body_seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    part = message.get("body", b"")
                    if len(body) + len(part) > self._most_bytes:
                        raise _Refused(*self._too_large())
                    self._require_room(len(part))
                    self._held, share.size = self._held + len(part), share.size + len(part)
                    body += part
                    more = message.get("more_body", False)
        except TimeoutError:
            raise _Refused(408, "the body did not arrive in time") from None
        return bytes(body)


def failure(status: int, message: str) -> dict:
    """The body of an answer with an error, in the form of OpenAI's."""
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "code": status}}


async def _error(send: Send, status: int, message: str) -> None:
    body = json.dumps(failure(status, message)).encode()
    last = (b"retry-after", b"1") if status == 429 else (b"connection", b"close")
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), last]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
