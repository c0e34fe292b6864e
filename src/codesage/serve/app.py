"""The addresses of the server.

In: an encoder, folders that may be searched. Out: an ASGI application (FastAPI):

    POST /v1/embeddings  as OpenAI's: input (texts or token ids), encoding_format float or base64, dimensions; usage
    GET  /v1/models      "codesage" encodes code, "codesage-query" questions about it
    POST /rerank         a query and documents: which fit best
    GET  /search, /similar, /map, /status: of the folders
    GET  /health, /metrics (Prometheus), / (the web page)

A full queue is answered with 429 at once. Errors have the form of OpenAI's.
"""

import asyncio
import base64
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import anyio
import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import codesage
from codesage.agents.folders import Answer, Searched
from codesage.encoder.runtime import Embedder
from codesage.encoder.unit import unit_length
from codesage.errors import CodesageError
from codesage.search.defaults import MOST_OF_QUERY
from codesage.search.places import LAST_LINE
from codesage.serve.batching import Batcher, Closed, Full, Reservation
from codesage.serve.guard import failure

MODELS = {"codesage": "code", "codesage-query": "text"}
MOST_TEXTS = 2048  # of a request, as OpenAI's
_MOST_LISTS = MOST_TEXTS + 8  # of a body: its texts may be lists of token ids. Each takes some hundred bytes of memory
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_PAGE = Path(__file__).parent / "page"
_ENCODED = frozenset({"/v1/embeddings", "/rerank"})  # addresses whose requests take room in the queue
_BYTES_A_TOKEN = 4  # of a body, about
_LEFT = 499  # the status in the metrics if the client has left, as of nginx
_TOKENISERS = 2  # requests that are tokenised at a time: more would only keep the event loop waiting
_RESERVATION: ContextVar[Reservation | None] = ContextVar("reservation", default=None)
_Limit = Annotated[int, Query(ge=1, le=100)]
_Asked = TypeVar("_Asked")
_Model = TypeVar("_Model", bound=BaseModel)


_Texts = Annotated[list[str], Field(fail_fast=True)]  # messages of all faults would fill the memory
_Ids = Annotated[list[int], Field(fail_fast=True)]
_Lists = Annotated[list[_Ids], Field(fail_fast=True)]


class EmbeddingsRequest(BaseModel):
    """What POST /v1/embeddings takes."""

    input: str | _Texts | _Ids | _Lists
    model: str = "codesage"
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
    user: str = ""


class RerankRequest(BaseModel):
    """What POST /rerank takes."""

    query: str = Field(min_length=1)
    documents: list[str] = Field(min_length=1, max_length=MOST_TEXTS, fail_fast=True)
    top_n: int = Field(0, ge=0, description="0: all")


class Refused(Exception):
    """A request that cannot be answered: status and one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Metrics:
    def __init__(self, batcher: Callable[[], Batcher]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("codesage_requests", "Requests.", ["path", "status"], registry=self.registry)
        self.seconds = Histogram("codesage_request_seconds", "Time of a request.", ["path"], registry=self.registry)
        self.tokens = Counter("codesage_tokens", "Tokens encoded.", registry=self.registry)
        self.batch = Histogram(
            "codesage_batch_requests",
            "Requests encoded together.",
            registry=self.registry,
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
        )
        waiting = Gauge("codesage_waiting_tokens", "Tokens that wait.", registry=self.registry)
        waiting.set_function(lambda: batcher().waiting_tokens)

    def on_batch(self, requests: int, tokens: int) -> None:
        self.batch.observe(requests)
        self.tokens.inc(tokens)


class Service:
    """The application's parts: the encoder behind a batcher, and the folders."""

    def __init__(self, encoder: Embedder, folders: Searched, *, queue_tokens: int = 262_144, most_searches: int = 16) -> None:
        """`queue_tokens`: limit of the tokens that wait to be encoded. `most_searches`: limit of simultaneous searches."""
        self.encoder, self.folders = encoder, folders
        self.metrics = _Metrics(lambda: self.batcher)
        self.batcher = Batcher(encoder.encode_ids, queue_tokens=queue_tokens, on_batch=self.metrics.on_batch)
        self._free, self._tokenisers = most_searches, anyio.CapacityLimiter(_TOKENISERS)

    @contextmanager
    def intake(self, path: str, size: int) -> Iterator[None]:
        """Reserve room in the queue for a request with this many bytes. Raises Full or Closed if there is none.

        This happens before the body is parsed, so that requests to a full queue cost little work.
        """
        if path not in _ENCODED:
            yield
            return
        try:
            reservation = self.batcher.reserve(size // _BYTES_A_TOKEN)
        except (Full, Closed) as error:
            self.metrics.requests.labels(path, 429 if isinstance(error, Full) else 503).inc()
            raise
        previous = _RESERVATION.set(reservation)
        try:
            yield
        finally:
            _RESERVATION.reset(previous)
            reservation.release()

    async def tokenised(self, tokenise: Callable[[], _Asked]) -> _Asked:
        """Run `tokenise` in a thread, few at a time."""
        return await anyio.to_thread.run_sync(tokenise, limiter=self._tokenisers)

    async def vectors(self, ids: list[list[int]]) -> np.ndarray:
        """float32 (n, D), computed in a batch with other waiting requests."""
        return await asyncio.wrap_future(self.batcher.submit(ids, _RESERVATION.get()))

    async def ask(self, question: Callable[[], Answer]) -> Response:
        """Answer a question about code. Refused with 429 when too many are being answered."""
        return _json(_answer(await self.in_a_thread(question)))

    async def in_a_thread(self, work: Callable[[], _Asked]) -> _Asked:
        """What `work` returns in a thread. Refused with 429 when too many threads read an index."""
        if self._free <= 0:
            raise Refused(429, "too many searches at the same time: try again in a second")
        self._free -= 1
        try:
            return await run_in_threadpool(work)
        finally:
            self._free += 1


def app_of(service: Service) -> FastAPI:
    """The application, without the checks of `guard`."""
    app = FastAPI(title="CodeSage", version=codesage.__version__, docs_url=None, redoc_url=None)
    _add_errors(app)
    app.add_middleware(_Counted, service=service)
    _add_embeddings(app, service)
    _add_search(app, service)
    _add_state(app, service)
    return app


def _add_embeddings(app: FastAPI, service: Service) -> None:
    encoder = service.encoder

    @app.post("/v1/embeddings", openapi_extra={"requestBody": _body_of(EmbeddingsRequest)})
    async def embeddings(request: Request) -> Response:
        """Vectors of texts or token ids, as OpenAI's API gives them."""
        body = await request.body()
        parsed, ids = await service.tokenised(lambda: _embeddings_request(encoder, body))
        vectors = (await service.vectors(ids))[:, : parsed.dimensions]
        if vectors.shape[1] < encoder.width:
            vectors = unit_length(vectors)
        tokens = sum(map(len, ids))
        data = [
            {"object": "embedding", "index": number, "embedding": _written(row, parsed.encoding_format)}
            for number, row in enumerate(vectors)
        ]
        return _json(
            {"object": "list", "data": data, "model": parsed.model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
        )

    @app.get("/v1/models")
    async def models() -> dict:
        return {
            "object": "list",
            "data": [{"id": name, "object": "model", "created": 0, "owned_by": "codesage"} for name in MODELS],
        }

    @app.post("/rerank", openapi_extra={"requestBody": _body_of(RerankRequest)})
    async def rerank(request: Request) -> Response:
        body = await request.body()
        parsed, ids = await service.tokenised(lambda: _rerank_request(encoder, body))
        vectors = await service.vectors(ids)
        scores = vectors[1:] @ vectors[0]
        best = np.argsort(-scores, kind="stable")[: parsed.top_n or None]
        return _json({"results": [{"index": int(row), "relevance_score": float(scores[row])} for row in best]})


def _add_search(app: FastAPI, service: Service) -> None:
    @app.get("/search")
    async def search(
        q: Annotated[str, Query(min_length=1, max_length=MOST_OF_QUERY)],
        path: str = "",
        language: str = "",
        glob: str = "",
        limit: _Limit = 10,
    ) -> Response:
        return await service.ask(lambda: service.folders.search(q, path=path, language=language, glob=glob, top=limit))

    @app.get("/similar")
    async def similar(path: str, line: Annotated[int, Query(ge=1, le=LAST_LINE)], limit: _Limit = 10) -> Response:
        return await service.ask(lambda: service.folders.similar(path, line, top=limit))

    @app.get("/map")
    async def similarity_map(most: Annotated[int, Query(ge=1, le=20_000)] = 5_000) -> Response:
        return _json(await service.in_a_thread(lambda: service.folders.map(most)))


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/status")
    async def status() -> dict:
        """The model, and what each index holds."""
        states = await run_in_threadpool(service.folders.status)
        return {
            "model": service.encoder.fingerprint,
            "folders": [
                {"root": index.root, "files": index.files, "chunks": index.chunks, "skipped": index.skipped, "partial": partial}
                for index, partial in states
            ],
        }

    @app.get("/health")
    @app.head("/health", include_in_schema=False)
    async def health() -> dict:
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    for address, name in (("/", "index.html"), ("/app.js", "app.js"), ("/style.css", "style.css")):
        app.add_route(address, _file(_PAGE / name))


def _file(file: Path) -> Callable:
    """Answers with a file of the page. Its headers forbid the page to load anything from other hosts."""

    async def answer(request: Request) -> FileResponse:
        return FileResponse(file, headers={"Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'"})

    return answer


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return _failure(error.status, str(error))

    @app.exception_handler(CodesageError)
    async def foreseen(request: Request, error: CodesageError) -> JSONResponse:
        return _failure(429 if isinstance(error, Full) else 503 if isinstance(error, Closed) else 400, str(error))

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        path, method = request.url.path, request.method
        told = {404: f"there is no {path} here", 405: f"{path} does not take {method}"}
        answer = _failure(error.status_code, told.get(error.status_code, str(error.detail)))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return _failure(400, f"{'.'.join(map(str, first['loc'][1:])) or 'the body'}: {first['msg']}")


class _Counted:
    """Counts requests and their time. Ends the work for a request when its client leaves."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, presence = time.perf_counter(), 500, _Presence(receive)

        async def counted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                presence.forget()  # the answer is complete
            await send(message)

        try:
            if not await presence.during(self._app(scope, presence.receive, counted)):
                status = _LEFT
        finally:
            path = scope["path"] if scope["path"] in _ENCODED else getattr(scope.get("route"), "path", "unknown")
            self._service.metrics.requests.labels(path, status).inc()
            self._service.metrics.seconds.labels(path).observe(time.perf_counter() - started)


class _Presence:
    """Whether the client of a request is there. Once the body is read, it is watched."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._watch, self._leaving = receive, None, asyncio.timeout(None)

    async def during(self, work: Awaitable[None]) -> bool:
        """Do `work` to its end, or until the client has left: then False."""
        try:
            async with self._leaving:
                await work
        except TimeoutError:
            if not self._leaving.expired():
                raise
        finally:
            self.forget()
            self._watch = None  # a cancelled task refers to this object: only the garbage collector would find the circle
        return not self._leaving.expired()

    def forget(self) -> None:
        """Watch no longer."""
        if self._watch is not None:
            self._watch.cancel()

    async def receive(self) -> Message:
        """The next part of the body; after the body, that the client has left."""
        if self._watch is not None:
            return await self._watch
        message = await self._receive()
        if not message.get("more_body", False):
            self._watch = asyncio.ensure_future(self._left())
        return message

    async def _left(self) -> Message:
        message = await self._receive()
        self._leaving.reschedule(0)  # it has expired
        return message


def _json(content: dict) -> Response:
    """The same response as FastAPI's, which takes 50 times as long for vectors and blocks other requests."""
    return Response(to_json(content), media_type="application/json")


def _failure(status: int, message: str) -> JSONResponse:
    headers = {"Retry-After": "1"} if status in (429, 503) else {}
    return JSONResponse(failure(status, message), status, headers)


def _body_of(model: type[BaseModel]) -> dict:
    """The OpenAPI description of a body that is read in a thread, where FastAPI does not see it."""
    return {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}


def _read(model: type[_Model], body: bytes) -> _Model:
    """A body as its model. Refused with its fault; if it may have several forms, with that of the form that fits best."""
    if _lists(body) > _MOST_LISTS and _lists(_STRING.sub(b"", body)) > _MOST_LISTS:  # few bodies need the second count
        raise Refused(400, f"the body has more than {_MOST_LISTS:,} lists and objects")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        best = max(error.errors(include_url=False, include_input=False), key=lambda fault: len(fault["loc"]))
        raise Refused(400, f"{'.'.join(map(str, best['loc'])) or 'the body'}: {best['msg']}") from None


def _lists(json: bytes) -> int:
    return json.count(b"[") + json.count(b"{")


def _embeddings_request(encoder: Embedder, body: bytes) -> tuple[EmbeddingsRequest, list[list[int]]]:
    """A request and its token ids. Raises Refused if the request is invalid."""
    request = _read(EmbeddingsRequest, body)
    if request.model not in MODELS:
        raise Refused(404, f"unknown model {request.model!r}: expected one of {', '.join(MODELS)}")
    if (request.dimensions or 0) > encoder.width:
        raise Refused(400, f"dimensions is {request.dimensions}: this model has {encoder.width}")
    return request, _token_ids(encoder, request.input, MODELS[request.model])


def _rerank_request(encoder: Embedder, body: bytes) -> tuple[RerankRequest, list[list[int]]]:
    """A request, and the token ids of its query and its documents."""
    request = _read(RerankRequest, body)
    return request, [*encoder.token_ids([request.query], kind="text"), *encoder.token_ids(request.documents)]


def _token_ids(encoder: Embedder, given: str | list, kind: str) -> list[list[int]]:
    """Token ids of the input of a request, which may be token ids already. Refused when there are too many, or none."""
    texts: list[Any] = [given] if isinstance(given, str) or (given and isinstance(given[0], int)) else list(given)
    if not texts or len(texts) > MOST_TEXTS:
        raise Refused(400, f"input has {len(texts)} texts: expected 1 to {MOST_TEXTS}")
    if isinstance(texts[0], str):
        return encoder.token_ids(texts, kind=kind)
    return [encoder.checked_ids(ids, kind=kind) for ids in texts]


def _written(row: np.ndarray, form: str) -> str | list[float]:
    return base64.b64encode(row.astype("<f4").tobytes()).decode() if form == "base64" else row.tolist()


def _answer(answer: Answer) -> dict:
    return {
        "root": answer.root,
        "files_indexed": answer.files,
        "partial": answer.partial,
        "unused_filters": answer.unused,
        "results": [
            {
                "path": hit.chunk.path,
                "start_line": hit.chunk.start_line,
                "end_line": hit.chunk.end_line,
                "kind": hit.chunk.kind,
                "name": hit.chunk.name,
                "language": hit.chunk.language,
                "score": round(hit.score, 6),
                "text": hit.chunk.text,
            }
            for hit in answer.hits
        ],
    }
