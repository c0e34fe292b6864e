"""Encode the texts of several requests in one batch.

In: requests from any thread, each with its texts. Out: their vectors, in order. One thread encodes. It takes the waiting
requests, up to a budget of tokens, as one batch. It does not wait for a batch to fill: requests that arrive during a batch
form the next one. The queue is bounded by tokens, and a request that does not fit is refused at once, so memory and waiting
time are bounded too. A request reserves its room by an estimate, before its texts are parsed and tokenised, so requests to a
full queue cost little work.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from codesage.errors import CodesageError


class Full(CodesageError):
    """The queue is full: ask again later."""


class Closed(CodesageError):
    """The server is stopping."""


@dataclass(slots=True, eq=False)
class _Request:
    documents: list[list[int]]
    tokens: int
    answer: Future = field(default_factory=Future)


class Reservation:
    """Room in the queue for a request whose tokens are not counted yet."""

    def __init__(self, batcher: "Batcher", tokens: int) -> None:
        self._batcher, self.tokens = batcher, tokens

    def release(self) -> None:
        """Give the room back, once."""
        with self._batcher._changed:
            self._batcher._reserved -= self.tokens
            self.tokens = 0


class Batcher:
    """Encodes token ids in a thread of its own. Use it as a context manager, or `close` it."""

    def __init__(
        self,
        encode_ids: Callable[[Sequence[Sequence[int]]], np.ndarray],
        *,
        batch_tokens: int = 8_192,
        queue_tokens: int = 262_144,
        on_batch: Callable[[int, int], None] = lambda requests, tokens: None,
    ) -> None:
        """`encode_ids` gives float32 (n, D) of n documents. `batch_tokens`: of a batch, unless one request alone has more.

        `queue_tokens`: that may wait, beside those being encoded. `on_batch` is called with the requests and tokens of a batch.
        """
        self._encode, self._on_batch = encode_ids, on_batch
        self._batch_tokens, self._queue_tokens = batch_tokens, queue_tokens
        self._waiting: deque[_Request] = deque()
        self._tokens, self._reserved, self._open = 0, 0, True
        self._changed = threading.Condition(threading.RLock())
        self._thread = threading.Thread(target=self._work, name="encoder", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Batcher":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def waiting_tokens(self) -> int:
        """Tokens of the requests that wait."""
        return self._tokens

    def reserve(self, tokens: int) -> Reservation:
        """Room for about `tokens`, until it is released or given to `submit`. Raises Full and Closed as `submit` does."""
        with self._changed:
            self._require_open()
            self._require_room(tokens)
            self._reserved += tokens
        return Reservation(self, tokens)

    def submit(self, documents: list[list[int]], reservation: Reservation | None = None) -> Future:
        """A future of the vectors of `documents`. Raises Full when the queue has no room, Closed after `close`.

        A request that has room is taken, also when it has somewhat more tokens than were expected.
        """
        request = _Request(documents, sum(map(len, documents)))
        with self._changed:
            self._require_open()
            if reservation is None:
                self._require_room(request.tokens)
            else:
                reservation.release()
            self._waiting.append(request)
            self._tokens += request.tokens
            self._changed.notify()
        request.answer.add_done_callback(self._forget)
        return request.answer

    def _forget(self, answer: Future) -> None:
        """Give back the room of a request that nobody waits for."""
        if not answer.cancelled():
            return
        with self._changed:
            request = next((waiting for waiting in self._waiting if waiting.answer is answer), None)
            if request is not None:
                self._waiting.remove(request)
                self._tokens -= request.tokens

    def _require_open(self) -> None:
        if not self._open:
            raise Closed("the server is stopping")

    def _require_room(self, tokens: int) -> None:
        taken = self._tokens + self._reserved
        if taken and taken + tokens > self._queue_tokens:
            raise Full(f"{taken:,} tokens are waiting already: ask again in a second")

    def close(self, *, timeout: float = 30.0) -> None:
        """Take no more requests, encode those that wait, and end the thread."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join(timeout)

    def _work(self) -> None:
        while batch := self._next():
            documents = [document for request in batch for document in request.documents]
            try:
                self._on_batch(len(batch), sum(request.tokens for request in batch))
                vectors = self._encode(documents)
            except Exception as error:  # it belongs to the requests of this batch: the thread must go on
                for request in batch:
                    request.answer.set_exception(error)
                continue
            start = 0
            for request in batch:
                request.answer.set_result(vectors[start : start + len(request.documents)])
                start += len(request.documents)

    def _next(self) -> list[_Request]:
        """The requests of the next batch, without cancelled ones; none at the end."""
        with self._changed:
            while True:
                batch, tokens = [], 0
                while self._waiting and (not batch or tokens + self._waiting[0].tokens <= self._batch_tokens):
                    request = self._waiting.popleft()
                    self._tokens -= request.tokens
                    if request.answer.set_running_or_notify_cancel():
                        batch.append(request)
                        tokens += request.tokens
                if batch or not self._open:
                    return batch
                self._changed.wait()
