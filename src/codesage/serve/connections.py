"""Serve an application over HTTP, with limits on what clients may keep waiting.

In: an ASGI application, and the bytes of connections, for uvicorn. Out: its answers. uvicorn alone waits for slow clients
without a limit, and closes a connection while a request may be arriving on it. Here, a connection that owes something is closed
if it takes too long, or if it waits longest among too many. It owes the head of a request, the rest of a request that has been
answered already, or, after an answer, the next request. Nothing is closed before all that has arrived is read.
All this rests on parts of uvicorn that it does not document (`_USED`). `server_of` refuses a version that lacks one.
"""

import asyncio
import gc
import selectors
from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar

import h11
import uvicorn

from codesage.errors import CodesageError

_TESTED = "uvicorn>=0.30,<0.55"  # as in pyproject.toml

try:
    from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
    from uvicorn.server import ServerState
except ImportError as error:
    raise CodesageError(f"this version of uvicorn does not fit ({error}): pip install '{_TESTED}'") from None

_USED = {
    H11Protocol: (
        "connection_made data_received send_400_response on_response_complete shutdown connection_lost pause_writing "
        "resume_writing _unset_keepalive_if_required conn cycle flow loop transport"
    ),
    RequestResponseCycle: "body default_headers keep_alive response_complete response_started",
    ServerState: "tasks",
    uvicorn.Server: "startup shutdown server_state",
}
_CLOSE = (b"connection", b"close")
MOST = 768  # connections that uvicorn serves at a time; it refuses more
_TOLD_SECONDS = 100  # that clients may keep a connection without a request: less than the server does
_GRACE = 30  # seconds in which a server that stops answers the requests that it has taken
_ACCEPTED = 0.05  # seconds for connections that the system has accepted before a server stops
_HEAD = 128 << 10  # bytes of the head of a request: a question of 10,000 letters may have 120,000


class _Owed(Enum):
    """What a client must send next."""

    NOTHING = 0  # it waits for an answer
    HEAD = 1
    REST = 2  # of a request that has been answered
    REQUEST = 3


class LimitedProtocol(H11Protocol):
    """HTTP over one connection. Subclasses may change the limits; one with its own `waiting` counts alone."""

    head_seconds: ClassVar[float] = 20.0  # from the first byte of a request, or from the connection, to the end of its head
    idle_seconds: ClassVar[float] = 120.0  # from an answer to the next request: longer than the pools of clients keep it
    unread_seconds: ClassVar[float] = 60.0  # in which the client must read what the operating system does not take
    most_waiting: ClassVar[int] = 256
    waiting: ClassVar[dict["LimitedProtocol", None]] = {}  # connections that owe something, oldest first

    _owed = _Owed.NOTHING
    _spared = False  # a turn of the loop was granted, to read what had arrived
    _dropping = False  # what arrives is not read: the last answer has been given
    _stopping = False
    _limit: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A client has connected."""
        super().connection_made(_Transport(transport, self._must_read))
        transport.set_write_buffer_limits(0)  # so writing pauses as long as anything is unread
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self._dropping:
            return
        super().data_received(data)
        self._watch()
        if self._stopping:
            self._close_after_answer()

    def send_400_response(self, msg: str) -> None:
        """What has arrived is not HTTP."""
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # an answer has begun
            self.transport.abort()

    def on_response_complete(self) -> None:
        """A request is answered."""
        self.cycle.body = bytearray()  # what came of a refused one is left out; older versions of uvicorn have bytes here
        super().on_response_complete()
        self._unset_keepalive_if_required()  # of uvicorn: `idle_seconds` holds instead
        self._watch()

    def shutdown(self) -> None:
        """The server stops. A connection is closed after the answers to all requests that are arriving on it."""
        self._stopping = True
        begun = self._owed is _Owed.HEAD and self.conn.trailing_data[0]
        if self._owed is _Owed.NOTHING:
            self._close_after_answer()
        elif self._dropping or not (begun or _readable(self.transport)):
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._stop_waiting()
        self._stop_unread()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Something is unread."""
        super().pause_writing()
        self._stop_unread()
        self._unread = self.loop.call_later(self.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Everything is read."""
        self._stop_unread()
        super().resume_writing()

    def _watch(self) -> None:
        """Limit the time for what the client owes, from when it owes it."""
        owed = self._now_owed()
        if owed is self._owed:
            return
        self._stop_waiting()
        self._owed = owed
        if owed is _Owed.NOTHING or self.transport.is_closing():
            return
        self._limit = self.loop.call_later(self.idle_seconds if owed is _Owed.REQUEST else self.head_seconds, self._let_go)
        self.waiting[self] = None
        if len(self.waiting) > self.most_waiting:
            next(iter(self.waiting))._let_go()

    def _now_owed(self) -> _Owed:
        if self._dropping:
            return _Owed.REST
        if self.cycle is None:
            return _Owed.HEAD
        if not self.cycle.response_complete:
            return _Owed.NOTHING
        if self.conn.their_state is h11.SEND_BODY:
            return _Owed.REST
        return _Owed.HEAD if self.conn.trailing_data[0] else _Owed.REQUEST

    def _let_go(self) -> None:
        """Close the connection, unless what it owes has arrived and is not read yet."""
        spared = self._spared and self._owed is not _Owed.REQUEST
        if self._dropping or spared or not _readable(self.transport):
            self._close()
            return
        self._stop_waiting()
        self._spared = True
        self._limit = self.loop.call_later(0, self._let_go)  # the loop reads first

    def _close(self) -> None:
        self._stop_waiting()
        if self._dropping or self.transport.get_write_buffer_size():  # the client does not stop, or does not read
            self.transport.abort()
        else:
            self._dropping = True  # so this is no answer to wait for
            self.transport.close()

    def _must_read(self) -> bool:
        """Whether closing must wait: if a client still sends, the system resets its connection, and the answer may be lost."""
        if self._dropping or self.conn.their_state not in (h11.SEND_BODY, h11.ERROR):
            return False
        self._dropping = True
        self.flow.resume_reading()
        self._watch()
        return True

    def _close_after_answer(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            return
        self.cycle.keep_alive = False
        if not self.cycle.response_started and _CLOSE not in self.cycle.default_headers:
            self.cycle.default_headers = [*self.cycle.default_headers, _CLOSE]

    def _stop_waiting(self) -> None:
        self.waiting.pop(self, None)
        self._spared = False
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _stop_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


class _Transport(asyncio.Transport):
    """A transport whose `close` only ends the answers, as long as `must_read` says that the client still sends."""

    def __init__(self, transport: asyncio.Transport, must_read: Callable[[], bool]) -> None:
        super().__init__()
        self._transport, self._must_read, self._ended = transport, must_read, False
        self.abort, self.get_extra_info = transport.abort, transport.get_extra_info
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading
        self.get_write_buffer_size = transport.get_write_buffer_size

    def is_closing(self) -> bool:
        return self._ended or self._transport.is_closing()

    def write(self, data: Any) -> None:
        if not self._ended:
            self._transport.write(data)

    def close(self) -> None:
        if self._ended or self._transport.is_closing():
            return
        if self._must_read():
            self._ended = True
            self._transport.write_eof()
        else:
            self._transport.close()


class _Server(uvicorn.Server):
    """Lets no collection of garbage keep requests waiting. Stops without losing requests that it has taken."""

    async def startup(self, sockets: Any = None) -> None:
        """Start. No later collection looks through what is loaded by now: that stopped the loop for 60 to 130 ms."""
        gc.freeze()
        await super().startup(sockets)

    async def shutdown(self, sockets: Any = None) -> None:
        """Answer all requests of the connections there are; those that take too long are told that the server stops."""
        await asyncio.sleep(_ACCEPTED)
        await super().shutdown(sockets)
        if self.server_state.tasks:  # cancelled
            await asyncio.wait(self.server_state.tasks, timeout=1)


def server_of(app: Callable, *, host: str, port: int, log_level: str = "warning", **more: Any) -> uvicorn.Server:
    """A server of an application, which runs until the process is told to stop. `more`: other options of uvicorn.

    CodesageError when this version of uvicorn lacks what the limits rest on: without them, slow clients could block the server.
    """
    if lacking := _lacking():
        raise CodesageError(
            f"uvicorn {uvicorn.__version__} lacks what limits slow clients ({', '.join(lacking)}): pip install '{_TESTED}'"
        )
    options = {
        "http": LimitedProtocol,
        "ws": "none",
        "limit_concurrency": MOST,
        "timeout_graceful_shutdown": _GRACE,
        "h11_max_incomplete_event_size": _HEAD,
        "headers": [("Keep-Alive", f"timeout={_TOLD_SECONDS}")],
    }
    return _Server(uvicorn.Config(app, host=host, port=port, log_level=log_level, **options | more))


def _lacking() -> list[str]:
    """What of `_USED` this version of uvicorn does not have: as a method, or as an attribute in the code of one."""

    def has(one: type, name: str) -> bool:
        codes = (getattr(method, "__code__", None) for method in vars(one).values())
        return hasattr(one, name) or any(name in code.co_names for code in codes if code)

    return [f"{one.__name__}.{name}" for one, names in _USED.items() for name in names.split() if not has(one, name)]


def _readable(transport: asyncio.Transport) -> bool:
    """Whether bytes have arrived that nobody has read, or the end of the connection."""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(transport.get_extra_info("socket"), selectors.EVENT_READ)
            return bool(selector.select(0))
    except (ValueError, OSError):  # it is closed, or the process has no file descriptor left to ask
        return False
