"""Close connections whose client keeps the server waiting.

In: the bytes of a connection, for uvicorn's HTTP protocol. Out: the same, but a connection is closed if the head of a request
does not arrive in time, if it waits longest among too many that have sent none, or if its client does not read an answer.
uvicorn alone waits for such clients without a limit.
"""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 512  # connections that uvicorn serves at a time; it refuses more


class LimitedProtocol(H11Protocol):
    """HTTP over one connection. Subclasses may change the limits; one with its own `waiting` counts alone."""

    head_seconds: ClassVar[float] = 20.0  # from the first byte of a request, or from the connection, to the end of its head
    unread_seconds: ClassVar[float] = 60.0  # in which the client must read what the operating system does not take
    most_waiting: ClassVar[int] = 256
    waiting: ClassVar[dict["LimitedProtocol", None]] = {}  # connections without a request, oldest first

    _head: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A client has connected."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # so writing pauses as long as anything is unread
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived. Unless they belong to a request that is being answered, the head must be complete in time."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait_for_head()
        else:
            self._stop_waiting()

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

    def _wait_for_head(self) -> None:
        if self._head is not None or self.transport.is_closing():
            return
        self._head = self.loop.call_later(self.head_seconds, self._give_up)
        self.waiting[self] = None
        if len(self.waiting) > self.most_waiting:
            next(iter(self.waiting))._give_up()

    def _stop_waiting(self) -> None:
        self.waiting.pop(self, None)
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _stop_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _give_up(self) -> None:
        self._stop_waiting()
        self.transport.abort()
