"""The HTTP server, tested with the openai client, plain sockets and a browser; batching, refusals, and a full queue."""

import ast
import asyncio
import base64
import errno
import gc
import importlib
import re
import shutil
import socket
import subprocess
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

import codesage
from codesage import CodesageError
from codesage.agents.folders import Folders
from codesage.serve import access
from codesage.serve.batching import Batcher, Closed, Full
from codesage.serve.guard import Guard
from command_line import run
from test_agents import CODE

if not find_spec("fastapi"):  # imported by the fixture: other workers only collect this file
    pytest.skip("fastapi is not installed", allow_module_level=True)
httpx2 = pytest.importorskip("httpx2")

TOKEN = "a secret"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def until(true) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


@contextmanager
def running(app, port: int, **options):
    """Serve `app` at a port of this machine, in a thread. Gives the server."""
    from codesage.serve.connections import server_of

    server = server_of(app, host="127.0.0.1", port=port, log_level="critical", **options)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def encoder():
    return codesage.load()


@pytest.fixture(scope="module")
def served(encoder, tmp_path_factory):
    """A server in this process. Returns (its URL, its service)."""
    from codesage.serve.app import Service, app_of

    tree = tmp_path_factory.mktemp("serve") / "tree"
    for name, text in CODE.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    folders = Folders([tree], lambda: encoder, index_dir=tree.parent / "index", fresh=0.0)
    service = Service(encoder, folders)
    guarded = Guard(
        app_of(service),
        hosts=frozenset({f"127.0.0.1:{(port := free_port())}"}),
        token=TOKEN,
        most_bytes=200_000,
        body_seconds=1.0,
        intake=service.intake,
    )
    with running(guarded, port):
        yield f"http://127.0.0.1:{port}", service
    service.batcher.close()


@pytest.fixture
def client(served):
    with httpx2.Client(base_url=served[0], headers={"Authorization": f"Bearer {TOKEN}"}) as opened:
        yield opened


# Embeddings


def test_the_openai_client_gets_the_vectors_of_encode(served, encoder):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{served[0]}/v1", api_key=TOKEN, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["codesage", "codesage-query"]
        texts = ["def f(x): return x", "a < b"]
        answer = client.embeddings.create(model="codesage", input=texts)  # base64 on the wire
        np.testing.assert_allclose([one.embedding for one in answer.data], encoder.encode(texts), atol=1e-6)
        assert answer.usage.prompt_tokens == sum(map(len, encoder.token_ids(texts))) == answer.usage.total_tokens
        question = client.embeddings.create(model="codesage-query", input="how to add in python", encoding_format="float")
        want = encoder.encode(["how to add in python"], kind="text")
        np.testing.assert_allclose([question.data[0].embedding], want, atol=1e-6)
        short = client.embeddings.create(model="codesage", input=texts, dimensions=8)
        np.testing.assert_allclose([one.embedding for one in short.data], encoder.encode(texts, dims=8), atol=1e-6)
        with pytest.raises(openai.NotFoundError, match="unknown model 'gpt'"):
            client.embeddings.create(model="gpt", input="x")


def test_token_ids_and_base64(client, encoder):
    ids = encoder.token_ids(["return x"])[0]
    for given in (ids, [ids], ids[:-1]):
        body = client.post("/v1/embeddings", json={"input": given, "encoding_format": "base64"}).json()
        row = np.frombuffer(base64.b64decode(body["data"][0]["embedding"]), "<f4")
        np.testing.assert_allclose(row, encoder.encode(["return x"])[0], atol=1e-6)
    assert client.post("/v1/embeddings", json={"input": [10**6]}).status_code == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "input: Field required"),
        ({"input": []}, "input has 0 texts"),
        ({"input": ["x"] * 2049}, "input has 2049 texts"),
        ({"input": "x", "dimensions": 999}, "dimensions is 999"),
        ({"input": "x", "dimensions": 0}, "dimensions"),
        ({"input": "x", "encoding_format": "hex"}, "encoding_format"),
        ({"input": {"a": 1}}, "input"),
        ({"input": ["x", 1]}, "input.list[str].1: Input should be a valid string"),
        ({"input": [[1]] * 2049}, "input has 2049 texts"),
        ({"input": [[1]] * 3000}, "the body has more than 2,056 lists and objects"),
        ({"input": ["x"], "user": [{}] * 3000}, "the body has more than 2,056 lists and objects"),
    ],
)
def test_bad_requests_are_one_line(client, body, message):
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == 400 and message in answer.json()["error"]["message"]


def test_a_faulty_list_costs_no_memory_for_each_of_its_faults():
    from codesage.serve.app import EmbeddingsRequest, RerankRequest, _read

    def faults(model, body):
        with pytest.raises(Exception, match=r"^(input|documents)") as refused:
            _read(model, body)
        return str(refused.value)

    tracemalloc.start()
    try:
        items = b"1," * 200_000
        assert (
            faults(EmbeddingsRequest, b'{"input": ["x", %s 1]}' % items) == "input.list[str].1: Input should be a valid string"
        )
        assert faults(RerankRequest, b'{"query": "x", "documents": [%s 1]}' % items).startswith("documents.0: ")
        assert len(_read(EmbeddingsRequest, b'{"input": [%s 1]}' % items).input) == 200_001
        assert tracemalloc.get_traced_memory()[1] < 20e6  # 281 MB with all faults
    finally:
        tracemalloc.stop()


def test_brackets_in_texts_are_no_lists(client):
    text = '[{"\\\\' * 5_000
    for given in (text, [text, "\\"], ["[" * 3_000, '"', "{" * 3_000]):
        assert client.post("/v1/embeddings", json={"input": given}).status_code == 200


def test_documents_are_reranked(client):
    documents = ["class Dog: pass", "def add(a, b):\n    return a + b", "import os"]
    results = client.post("/rerank", json={"query": "add two numbers", "documents": documents, "top_n": 2}).json()["results"]
    assert results[0]["index"] == 1 and len(results) == 2
    assert results[0]["relevance_score"] > results[1]["relevance_score"]


# Search


def test_search_similar_map_and_status(client, served):
    answer = client.get("/search", params={"q": "add up numbers", "language": "python", "limit": 1}).json()
    assert answer["results"][0]["name"] == "total" and answer["files_indexed"] == 3
    none = client.get("/search", params={"q": "add up numbers", "glob": "*.rs"}).json()
    assert none["results"] == [] and none["unused_filters"] == ["glob *.rs"] and answer["unused_filters"] == []
    near = client.get("/similar", params={"path": "files.py", "line": 8}).json()["results"]
    assert near[0]["path"] == "sub/sums.go"
    points = client.get("/map").json()["points"]
    assert {point["name"] for point in points} == {"read_text", "total", "Total"}
    assert all(0 <= point[axis] <= 1 for point in points for axis in "xy")
    assert points == served[1].folders.map(5_000)["points"]
    state = client.get("/status").json()["folders"][0]
    assert state["files"] == 3 and state["partial"] == ""


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("/search?q=x&path=/etc", "not in a folder"),
        ("/search?q=x&path=..", "not in a folder"),
        ("/search?q=x&path=%00", r"'\x00' is not in a folder"),
        ("/search?q=x&path=~nosuchuser/x", "not in a folder"),
        (f"/search?q=x&path={'x' * 300}", "not in a folder"),
        (f"/similar?path=files.py&line={10**20}", "line: Input should be less than or equal to 2147483647"),
        ("/search", "q: Field required"),
        ("/search?q=x&limit=0", "limit"),
        ("/similar?path=gone.py&line=1", "gone.py: no such file or folder"),
        ("/similar?path=files.py&line=900", "after the last line of code"),
    ],
)
def test_bad_questions_are_one_line(client, address, message):
    answer = client.get(address)
    assert answer.status_code == 400 and message in answer.json()["error"]["message"]


def test_the_longest_question_may_be_in_any_script_and_arrive_in_parts(served, client):
    host = served[0].removeprefix("http://")
    question = quote(chr(0x1F600) * 10_000)  # four bytes a letter, three letters a byte
    head = f"GET /search?q={question} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    with socket.create_connection(tuple(host.split(":")), timeout=20) as asking:
        asking.sendall(head[:60_000])
        time.sleep(0.2)
        asking.sendall(head[60_000:])
        assert b" 200 " in asking.recv(1000)
    assert client.get("/search", params={"q": "x" * 10_001}).status_code == 400


def test_too_many_searches_are_refused_at_once(client, served, monkeypatch):
    service, proceed, waiting = served[1], threading.Event(), threading.Semaphore(0)
    search = service.folders.search

    def slow(*arguments, **options):
        waiting.release()
        proceed.wait(20)
        return search(*arguments, **options)

    monkeypatch.setattr(service.folders, "search", slow)
    monkeypatch.setattr(service, "_free", 2)
    with ThreadPoolExecutor(2) as threads:
        held = [threads.submit(client.get, "/search?q=x") for _ in range(2)]
        for _ in held:
            assert waiting.acquire(timeout=20)
        started = time.monotonic()
        for address in ("/search?q=x", "/similar?path=a.py&line=1", "/map"):
            refused = client.get(address)
            assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
        assert time.monotonic() - started < 2 and client.get("/status").status_code == 200
        proceed.set()
        assert [one.result().status_code for one in held] == [200, 200]
    assert client.get("/search?q=x").status_code == client.get("/map").status_code == 200


# Requests that are refused


def test_foreign_hosts_origins_and_wrong_tokens_are_refused(served):
    url = served[0]
    good = {"Authorization": f"Bearer {TOKEN}"}
    for headers, status in (
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Authorization": "Bearer x"}, 401),
        ({"Authorization": ""}, 401),
        ({"Origin": url}, 200),
    ):
        assert httpx2.get(f"{url}/v1/models", headers=good | headers).status_code == status, headers
    assert httpx2.get(f"{url}/health").json() == {"status": "ok"}  # without a token
    assert httpx2.get(f"{url}/metrics").status_code == 401


def test_unknown_addresses_and_methods_have_the_form_of_other_errors(client):
    for method, address, status, message in (
        ("GET", "/v1/nothing", 404, "there is no /v1/nothing here"),
        ("GET", "/v1/embeddings", 405, "/v1/embeddings does not take GET"),
        ("DELETE", "/health", 405, "/health does not take DELETE"),
        ("POST", "/", 405, "/ does not take POST"),
    ):
        answer = client.request(method, address)
        assert answer.status_code == status
        assert answer.json() == {"error": {"message": message, "type": "invalid_request_error", "code": status}}
    assert "POST" in client.get("/v1/embeddings").headers["allow"]
    head = client.head("/health")
    assert (head.status_code, head.content) == (200, b"")
    assert set(client.get("/openapi.json").json()["paths"]["/health"]) == {"get"}


def test_large_bodies_are_refused_with_and_without_a_length(client):
    text = "x" * 300_000
    assert client.post("/v1/embeddings", json={"input": text}).status_code == 413

    def pieces():
        for _ in range(30):
            yield b"x" * 10_000

    assert client.post("/v1/embeddings", content=pieces()).status_code == 413
    assert client.post("/v1/embeddings", content=b"{not json").status_code == 400


@contextmanager
def stalled(url: str, header: str):
    """A connection that sent the head of a request for embeddings, and eight bytes of its body."""
    host, port = url.removeprefix("http://").split(":")
    lines = ("POST /v1/embeddings HTTP/1.1", f"Host: {host}:{port}", f"Authorization: Bearer {TOKEN}", header, "")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall("\r\n".join((*lines, '8\r\n{"input"' if "chunked" in header else '{"input"')).encode())
        yield slow


def test_a_slow_body_times_out_and_blocks_nobody(served, client):
    with stalled(served[0], "Content-Length: 9") as slow:
        assert client.get("/health").status_code == 200
        slow.settimeout(10)
        assert b" 408 " in slow.recv(200)


@pytest.mark.parametrize("header", ["Transfer-Encoding: chunked", "Content-Length: 190000"])
def test_a_body_that_does_not_arrive_takes_no_room_in_the_queue(served, client, monkeypatch, header):
    service = served[1]
    monkeypatch.setattr(service.batcher, "_queue_tokens", 100)
    with stalled(served[0], header) as slow:
        time.sleep(0.1)
        for content in (b'{"input": "x = 1"}', iter([b'{"input": ', b'"x = 1"}'])):  # of a known length, and chunked
            assert client.post("/v1/embeddings", content=content).status_code == 200
        slow.settimeout(10)
        assert b" 408 " in slow.recv(200)
    assert service.batcher._reserved == 0


def test_a_full_queue_refuses_before_it_reads_a_request(client, served, monkeypatch):
    service = served[1]
    monkeypatch.setattr(service.encoder, "token_ids", None)
    reserved = service.batcher.reserve(10**9)
    refused = client.post("/v1/embeddings", content=b"{not json")
    assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert client.get("/health").status_code == 200
    reserved.release()
    assert client.post("/v1/embeddings", content=b"{not json").status_code == 400
    assert 'codesage_requests_total{path="/v1/embeddings",status="429"} 1.0' in client.get("/metrics").text
    assert service.batcher._reserved == 0


def test_a_request_leaves_no_circle_of_objects(client):
    """A collection of circles stops the server. After some hundred answers it took 60 ms."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            assert client.post("/v1/embeddings", json={"input": "x"}).status_code == 200
        left = [type(one).__name__ for one in gc.get_objects()]
        assert left.count("_Request") <= 1 and left.count("_Presence") <= 1  # the thread that encodes keeps its last batch
    finally:
        gc.enable()


def test_collections_do_not_look_through_what_a_server_has_loaded():
    loaded = ["before"]
    assert any(one is loaded for one in gc.get_objects())
    with answering(protocol_with()) as opened:
        opened(REQUEST)
        assert not any(one is loaded for one in gc.get_objects())


def chunked_or(length: int) -> list:
    """The headers of a request with a body of this length, 0: with a body of unknown length."""
    return [(b"host", b"here"), (b"content-length", b"%d" % length) if length else (b"transfer-encoding", b"chunked")]


async def asked(guard: Guard, headers: list, *parts: bytes, then: asyncio.Event | None = None) -> int:
    """The status of the answer to a request whose body arrives in parts; the last part comes after `then`."""
    sent, coming = [], list(parts)

    async def receive():
        await asyncio.sleep(0)
        if len(coming) == 1 and then:
            await then.wait()
        return {"type": "http.request", "body": coming.pop(0), "more_body": bool(coming)}

    async def send(message):
        sent.append(message.get("status"))

    await guard({"type": "http", "path": "/", "headers": headers}, receive, send)
    return sent[0]


def held_until(answering: asyncio.Event):
    """An application that answers after `answering`."""

    async def app(scope, receive, send):
        await answering.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    return app


def test_the_bodies_that_are_held_at_a_time_are_bounded():
    async def answers():
        first = asyncio.Event()
        guard = Guard(held_until(first), hosts=frozenset({"here"}), most_bytes=80, most_bytes_held=100)
        held = asyncio.create_task(asked(guard, chunked_or(60), b"x" * 60))
        while guard._held < 60:
            await asyncio.sleep(0)
        refused = [await asked(guard, chunked_or(60), None), await asked(guard, chunked_or(0), b"x" * 30, b"x" * 30)]
        assert guard._held == 60
        first.set()
        return refused, await asked(guard, [(b"host", b"here")], b""), await held, await asked(guard, chunked_or(60), b"x" * 60)

    assert asyncio.run(answers()) == ([429, 429], 200, 200, 200)


def test_two_hundred_clients_hold_no_more_than_the_limit_and_stalled_ones_only_what_arrived():
    async def answers():
        answering, arriving, held = asyncio.Event(), asyncio.Event(), []
        guard = Guard(held_until(answering), hosts=frozenset({"here"}), most_bytes=80, most_bytes_held=1_000)

        async def passed() -> int:
            for _ in range(20):
                await asyncio.sleep(0)
                held.append(guard._held)
            return guard._held

        clients = [asked(guard, chunked_or(number % 2 * 80), b"x", b"x" * 79, then=arriving) for number in range(200)]
        asking = [asyncio.create_task(client) for client in clients]
        stalled = await passed()
        other = asyncio.create_task(asked(guard, chunked_or(60), b"x" * 60))
        with_other = await passed()
        arriving.set()
        await passed()
        answering.set()
        return stalled, with_other, max(held), await asyncio.gather(*asking), await other, guard._held

    stalled, with_other, most, statuses, other, left = asyncio.run(answers())
    assert (stalled, with_other, other, left) == (200, 260, 200, 0)  # a byte each, and the whole body of another client
    assert 900 < most <= 1_000 and set(statuses) == {200, 429} and statuses.count(200) >= 10


def test_a_long_answer_that_is_not_read_is_given_up_for_others():
    async def answers():
        reads = [asyncio.Event() for _ in range(4)]
        sizes = [[] for _ in reads]

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x" * 200_000})

        guard = Guard(app, hosts=frozenset({"here"}), most_bytes_held=500_000, most_unread=3)

        async def reader(number):
            async def receive():
                return {"type": "http.request", "body": b"", "more_body": False}

            async def send(message):
                if "body" in message:
                    await reads[number].wait()
                    sizes[number].append((len(message["body"]), message["more_body"]))

            await guard({"type": "http", "path": "/", "headers": [(b"host", b"here")]}, receive, send)

        clients = []
        for number in range(3):  # the third does not fit beside the first two
            clients.append(asyncio.create_task(reader(number)))
            for _ in range(5):
                await asyncio.sleep(0)
        await clients[0]
        given_up, left = sizes[0], sum(guard._unread.values())
        reads[2].set()
        await clients[2]
        reads[3].set()
        await reader(3)
        reads[1].set()
        await clients[1]
        return given_up, left, sizes[1:], guard._unread

    piece = 64 << 10
    whole = [(piece, True), (piece, True), (piece, True), (200_000 - 3 * piece, False)]
    assert asyncio.run(answers()) == ([], 400_000, [whole] * 3, {})


def test_a_request_that_is_cut_is_not_answered():
    async def asked_of():
        reached = []

        async def app(scope, receive, send):
            reached.append(scope["path"])

        async def receive():
            return {"type": "http.disconnect"}

        guard = Guard(app, hosts=frozenset({"here"}))
        await guard({"type": "http", "path": "/", "headers": [(b"host", b"here")]}, receive, app)
        return reached, guard._held

    assert asyncio.run(asked_of()) == ([], 0)


# Connections


def protocol_with(**limits):
    """The protocol of the server with these limits, which counts its connections alone."""
    from codesage.serve.connections import LimitedProtocol

    return type("Limited", (LimitedProtocol,), {"waiting": {}, **limits})


@contextmanager
def answering(protocol, app=None, **options):
    """A server of `app`, or of a short answer. Gives a function that opens a connection, and sends these bytes."""
    (at_once := asyncio.Event()).set()
    served = running(app or held_until(at_once), port := free_port(), http=protocol, **options)
    with served as server, ExitStack() as connections:

        def opened(sent: bytes = b"") -> socket.socket:
            client = connections.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            client.sendall(sent)
            return client

        opened.server = server
        yield opened


REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


def until_closed(client: socket.socket) -> bytes:
    """What arrives until the server closes the connection."""
    received = b""
    try:
        while part := client.recv(1000):
            received += part
    except ConnectionResetError:
        pass
    return received


def test_of_too_many_idle_connections_the_oldest_are_closed():
    with answering(protocol_with(most_waiting=3, head_seconds=60)) as opened:
        idle = [opened(REQUEST[: number % 2 * 9]) for number in range(5)]
        assert list(map(until_closed, idle[:2])) == [b"", b""]
        client = opened(REQUEST)
        assert b" 200 " in client.recv(20)
        idle[4].sendall(REQUEST)
        assert b" 200 " in idle[4].recv(20)


def test_of_too_many_connections_that_are_idle_after_an_answer_the_oldest_are_closed():
    with answering(protocol_with(most_waiting=3)) as opened:
        idle = [opened(REQUEST) for _ in range(5)]
        assert [b" 200 " in until_closed(client) for client in idle[:2]] == [True, True]
        client = opened(REQUEST)
        assert b" 200 " in client.recv(1000)
        client.sendall(REQUEST)
        assert b" 200 " in client.recv(1000)


def test_a_request_that_arrives_as_an_idle_connection_ends_is_answered():
    """The loop is busy as the time ends, and the request arrives before it looks at the time."""
    from codesage.serve.connections import LimitedProtocol

    clients = []

    async def app(scope, receive, send):
        if scope["path"] == "/":
            loop = asyncio.get_running_loop()
            loop.call_later(0.4, time.sleep, 0.6)
            loop.call_later(0.7, lambda: clients[0].sendall(b"GET /next HTTP/1.1\r\nHost: here\r\n\r\n"))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": scope["path"][-4:].rjust(4).encode()})

    class Limited(LimitedProtocol):
        waiting, idle_seconds = {}, 0.8

    with answering(Limited, app, lifespan="off", timeout_keep_alive=0.8) as opened:
        clients.append(opened(REQUEST))
        received = until_closed(clients[0])
        assert received.count(b" 200 ") == 2 and received.endswith(b"next")


def test_a_request_after_a_refused_one_has_its_own_time():
    """The answer comes before the body, which then ends late."""
    post = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\n"
    with answering(protocol_with(head_seconds=2.0)) as opened:
        client = opened(post)
        assert b" 200 " in client.recv(1000)
        client.sendall(b"late")
        time.sleep(1.4)
        client.sendall(REQUEST[:9])
        time.sleep(1.0)
        client.sendall(REQUEST[9:])
        assert b" 200 " in client.recv(1000)
        slow = opened(post)
        assert b" 200 " in until_closed(slow)  # the rest must arrive in time, too


LARGE = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 20000000\r\n"


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
@pytest.mark.parametrize("most", [10**6, 10**8])
def test_an_answer_reaches_a_client_that_still_sends(more, most):
    """The system resets a connection that is closed before all is read. Then the answer is lost, or sending fails."""

    async def app(scope, receive, send):
        raise Full("full")

    full = Guard(app, hosts=frozenset({"here"}), most_bytes=most, intake=refusing)
    with answering(protocol_with(), full, lifespan="off") as opened:
        client = opened(LARGE + more + b"\r\n")
        for _ in range(200):
            client.sendall(b"x" * 100_000)
        wanted = b" 413 " if most == 10**6 else b" 429 "
        if more or most == 10**6:
            assert wanted in until_closed(client)
        else:
            assert wanted in client.recv(1000)
            client.sendall(REQUEST)
            assert wanted in client.recv(1000)


def refusing(path: str, size: int):
    raise Full("full")


def test_a_refused_request_leaves_nothing_of_its_body_in_memory():
    with answering(protocol_with()) as opened:
        opened(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000).recv(1000)
        (connection,) = opened.server.server_state.connections
        until(lambda: connection.cycle.response_complete)
        assert connection.cycle.body == b""


def test_a_flood_of_headers_is_answered_and_one_without_end_is_cut_off():
    with answering(protocol_with(head_seconds=1.0), lifespan="off") as opened:
        lines = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 50) for number in range(100_000))
        flood = opened(REQUEST[:-2])
        flood.sendall(lines)
        assert b" 400 " in until_closed(flood)
        endless = opened(REQUEST[:-2])
        with pytest.raises(OSError):
            for _ in range(10_000):
                endless.sendall(lines[:50_000])
                time.sleep(0.001)


def test_a_body_that_breaks_off_after_its_answer_is_no_fault_of_the_server(caplog):
    with answering(protocol_with(), lifespan="off") as opened:
        client = opened(b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert b" 200 " in client.recv(1000)
        client.sendall(b"this is no chunk\r\n")
        assert until_closed(client) == b""
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_a_server_that_stops_answers_what_has_arrived_in_part_and_says_that_it_closes():
    answer, asked = asyncio.Event(), threading.Semaphore(0)

    async def app(scope, receive, send):
        asked.release()
        await held_until(answer)(scope, receive, send)

    with answering(protocol_with(), app, lifespan="off") as opened:
        begun, half, idle = opened(REQUEST), opened(REQUEST[:9]), opened()
        assert asked.acquire(timeout=20)
        opened.server.should_exit = True
        assert until_closed(idle) == b""
        half.sendall(REQUEST[9:])
        assert asked.acquire(timeout=20)
        loop = next(iter(opened.server.server_state.tasks)).get_loop()
        loop.call_soon_threadsafe(answer.set)
        for client in (begun, half):
            received = until_closed(client)
            assert b" 200 " in received and b"connection: close" in received


def test_a_request_that_takes_longer_than_a_server_may_to_stop_is_told():
    asked = threading.Semaphore(0)

    async def app(scope, receive, send):
        asked.release()
        await asyncio.sleep(60)

    with answering(
        protocol_with(), Guard(app, hosts=frozenset({"here"})), lifespan="off", timeout_graceful_shutdown=1
    ) as opened:
        client = opened(REQUEST)
        assert asked.acquire(timeout=20)
        opened.server.should_exit = True
        received = until_closed(client)
    assert b" 503 " in received and b"the server is stopping" in received and b'"type": "server_error"' in received


@pytest.mark.parametrize("first", [b"", REQUEST])
@pytest.mark.parametrize("begun", [b"G", REQUEST[:9]])
def test_the_head_of_a_request_must_arrive_in_time(first, begun):
    with answering(protocol_with(head_seconds=0.3)) as opened:
        slow = opened(first)
        if first:
            assert b" 200 " in slow.recv(1000)
        slow.sendall(begun)
        assert b" 200 " not in until_closed(slow)
        assert b" 200 " in opened(REQUEST).recv(20)


def test_a_connection_is_closed_in_time_by_a_process_without_file_descriptors(monkeypatch):
    from codesage.serve import connections

    def none_left():
        raise OSError(errno.EMFILE, "Too many open files")

    with answering(protocol_with(head_seconds=0.3)) as opened:
        slow = opened(b"G")
        monkeypatch.setattr(connections.selectors, "DefaultSelector", none_left)
        assert until_closed(slow) == b""


def test_versions_of_uvicorn_that_keep_a_body_as_bytes_answer_a_second_request(monkeypatch):
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

    begin = RequestResponseCycle.__init__

    def begun(cycle, *arguments, **options):
        begin(cycle, *arguments, **options)
        cycle.body = b""

    monkeypatch.setattr(RequestResponseCycle, "__init__", begun)
    with answering(protocol_with()) as opened:
        client = opened(REQUEST)
        assert b" 200 " in client.recv(1000)
        client.sendall(REQUEST)
        assert b" 200 " in client.recv(1000)


def test_all_that_connections_use_of_uvicorn_is_checked():
    """As the code names it: on itself, its base, the answer of a request, and the server."""
    from codesage.serve import connections

    named = {one.__name__: set(names.split()) for one, names in connections._USED.items()}
    protocol, _, server = (
        next(part for part in ast.walk(tree) if isinstance(part, ast.ClassDef) and part.name == name)
        for tree in [ast.parse(Path(connections.__file__).read_text())]
        for name in ("LimitedProtocol", "_Transport", "_Server")
    )

    def used(tree, of):
        return {part.attr for part in ast.walk(tree) if isinstance(part, ast.Attribute) and ast.unparse(part.value) == of}

    own = set(vars(connections.LimitedProtocol))
    called = {"shutdown"}  # by the server of uvicorn
    assert (used(protocol, "self") - own) | used(protocol, "super()") | called == named["H11Protocol"]
    assert used(protocol, "self.cycle") == named["RequestResponseCycle"]
    assert used(server, "self") | used(server, "super()") == named["Server"]
    assert used(server, "self.server_state") == named["ServerState"]


def test_a_version_of_uvicorn_that_lacks_something_is_refused(monkeypatch):
    from codesage.serve import connections

    class Later:
        def __init__(self):
            self.connection = self.cycle = None

        def on_response_complete(self):
            pass

    later = {Later: "on_response_complete _unset_keepalive_if_required cycle conn"}
    monkeypatch.setattr(connections, "_USED", later)
    monkeypatch.setattr(connections.uvicorn, "__version__", "9.9")
    with pytest.raises(CodesageError) as refused:
        connections.server_of(None, host="127.0.0.1", port=1)
    what = "Later._unset_keepalive_if_required, Later.conn"
    assert str(refused.value) == f"uvicorn 9.9 lacks what limits slow clients ({what}): pip install 'uvicorn>=0.30,<0.55'"
    assert connections._TESTED in (Path(__file__).parents[1] / "pyproject.toml").read_text()
    monkeypatch.delattr("uvicorn.protocols.http.h11_impl.RequestResponseCycle")
    with pytest.raises(CodesageError, match="this version of uvicorn does not fit .*RequestResponseCycle"):
        importlib.reload(connections)


def test_a_client_that_does_not_read_is_cut_off_and_one_that_reads_is_not():
    class Transport(asyncio.Transport):
        def __init__(self):
            super().__init__()
            self.told = []

        def set_write_buffer_limits(self, high=None, low=None):
            self.told.append(high)

        def is_closing(self):
            return False

        def abort(self):
            self.told.append("abort")

    async def told():
        import uvicorn
        from uvicorn.server import ServerState

        protocol = protocol_with(unread_seconds=0.0)(uvicorn.Config(None), ServerState(), {})
        protocol.connection_made(transport := Transport())
        protocol.pause_writing()
        protocol.resume_writing()
        await asyncio.sleep(0.01)
        read = list(transport.told)
        protocol.pause_writing()
        await asyncio.sleep(0.01)
        protocol.connection_lost(ConnectionResetError())
        return read, transport.told, protocol.waiting

    assert asyncio.run(told()) == ([0], [0, "abort"], {})


# Batches


class Slow:
    """Waits for `proceed` before it encodes; remembers the size of each batch."""

    def __init__(self):
        self.proceed, self.sizes = threading.Event(), []

    def __call__(self, documents):
        self.proceed.wait(20)
        self.sizes.append(len(documents))
        if any(document == [666] for document in documents):
            raise ValueError("a bad document")
        return np.array([[sum(document)] for document in documents], np.float32)


def test_waiting_requests_are_encoded_together_and_keep_their_order():
    encode = Slow()
    with Batcher(encode, batch_tokens=10) as batcher:
        first = batcher.submit([[1]])
        while batcher.waiting_tokens:
            time.sleep(0.001)
        others = [batcher.submit([[number], [number, 1]]) for number in range(2, 7)]  # 3 tokens each
        encode.proceed.set()
        wait([first, *others])
        assert first.result().tolist() == [[1]]
        assert [one.result().ravel().tolist() for one in others] == [[number, number + 1] for number in range(2, 7)]
    assert encode.sizes == [1, 6, 4]


def test_an_error_in_counting_a_batch_stays_with_it_too():
    errors = [ValueError("it cannot be counted")]

    def count(requests, tokens):
        if errors:
            raise errors.pop()

    with Batcher(lambda documents: np.ones((len(documents), 1), np.float32), on_batch=count) as batcher:
        with pytest.raises(ValueError, match="cannot be counted"):
            batcher.submit([[1]]).result(10)
        assert batcher.submit([[1]]).result(10).tolist() == [[1.0]]


def test_a_full_queue_refuses_at_once_and_an_error_stays_with_its_batch():
    encode = Slow()
    with Batcher(encode, batch_tokens=4, queue_tokens=10) as batcher:
        held = batcher.submit([[1]])
        while batcher.waiting_tokens:
            time.sleep(0.001)
        large = batcher.submit([[1] * 50])  # an empty queue accepts any request, as it could never be accepted otherwise
        with pytest.raises(Full, match="50 tokens are waiting"):
            batcher.submit([[1]])
        with pytest.raises(Full):
            batcher.reserve(1)
        large.cancel()
        encode.proceed.set()
        held.result(10)
        bad, good = batcher.submit([[666]]), None
        with pytest.raises(ValueError, match="a bad document"):
            bad.result(10)
        good = batcher.submit([[2, 3]])
        assert good.result(10).tolist() == [[5]]
    with pytest.raises(Closed):
        batcher.submit([[1]])


def test_the_room_of_a_request_that_nobody_waits_for_is_free_at_once():
    encode = Slow()
    with Batcher(encode, queue_tokens=10) as batcher:
        first = batcher.submit([[1]])
        while batcher.waiting_tokens:
            time.sleep(0.001)
        left, kept = batcher.submit([[1] * 6]), batcher.submit([[2] * 4])
        left.cancel()
        assert batcher.waiting_tokens == 4
        other = batcher.submit([[3] * 6])
        encode.proceed.set()
        assert [one.result(10).tolist() for one in (first, kept, other)] == [[[1]], [[8]], [[18]]]
    assert encode.sizes == [1, 2]


def test_the_texts_of_a_client_that_leaves_are_not_encoded(served, client, monkeypatch):
    encode, body = Slow(), b'{"input": "value = 1"}'
    head = "POST /v1/embeddings HTTP/1.1\r\nHost: {}:{}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n"
    place = ("127.0.0.1", int(served[0].rpartition(":")[2]))
    with Batcher(encode) as batcher:
        monkeypatch.setattr(served[1], "batcher", batcher)
        batcher.submit([[1]])
        until(lambda: batcher.waiting_tokens == 0)  # it is being encoded
        with socket.create_connection(place) as leaving:
            leaving.sendall(head.format(*place, TOKEN, len(body)).encode() + body)
            until(lambda: batcher.waiting_tokens > 0)
        until(lambda: batcher.waiting_tokens == 0)
        encode.proceed.set()
    assert encode.sizes == [1]
    until(lambda: 'codesage_requests_total{path="/v1/embeddings",status="499"} 1.0' in client.get("/metrics").text)


def test_room_in_the_queue_is_taken_before_tokens_are_counted():
    encode = Slow()
    with Batcher(encode, queue_tokens=10) as batcher:
        first = batcher.reserve(8)
        with pytest.raises(Full, match="8 tokens are waiting"):
            batcher.reserve(3)
        second = batcher.reserve(2)
        answer = batcher.submit([[1, 2, 3]], first)  # fewer than it had reserved
        first.release()
        second.release()
        second.release()
        assert batcher._reserved == 0
        encode.proceed.set()
        assert answer.result(10).tolist() == [[6]]
        batcher.reserve(10)


def test_many_clients_lose_nothing(served, encoder):
    texts = [f"value_{number} = {number} * 2" for number in range(60)]
    want = encoder.encode(texts)

    async def ask(client, number):
        answer = await client.post("/v1/embeddings", json={"input": texts[number]})
        return answer.json()["data"][0]["embedding"]

    async def all_of_them():
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx2.AsyncClient(base_url=served[0], headers=headers, timeout=60) as client:
            return await asyncio.gather(*(ask(client, number) for number in range(60)))

    vectors = np.array(asyncio.run(all_of_them()))
    assert np.array_equal(vectors.astype(np.float32), want)  # whatever they are encoded with
    lines = httpx2.get(f"{served[0]}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text.splitlines()
    figures = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(figures["codesage_batch_requests_sum"]) > float(figures["codesage_batch_requests_count"])  # some together


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.1.5", "example.org", "127.example.org"])
def test_other_machines_need_a_token(host):
    with pytest.raises(CodesageError, match=f"^{host} can be reached from other machines: give --token, or set CODESAGE_TOKEN"):
        access.require_token(host, "")
    access.require_token(host, "secret")
    done = run("serve", "--host", host)
    assert done.returncode == 2 and "give --token" in done.stderr


@pytest.mark.parametrize("command", [("serve",), ("mcp", "run", "--http")])
def test_a_port_that_is_taken_is_one_line(command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(*command, "--port", str(port))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"codesage: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    access.require_port("127.0.0.1", port)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_needs_no_token(host):
    access.require_token(host, "")


def test_a_server_answers_to_its_names_and_at_port_80_also_without_the_port():
    async def asking(hosts, headers):
        (answering := asyncio.Event()).set()
        return await asked(Guard(held_until(answering), hosts=hosts), headers, b"")

    def status(hosts, host, *more):
        return asyncio.run(asking(hosts, [(b"host", host), *more]))

    usual, http = access.served_names("fe80::1", 8764, ["Box.example"]), access.served_names("Box.example", 80)
    for name in (b"localhost:8764", b"127.0.0.1:8764", b"[::1]:8764", b"[fe80::1]:8764", b"box.example"):
        assert status(usual, name) == 200
    assert [status(usual, name) for name in (b"localhost", b"box.example:8764", b"localhost:80")] == [421] * 3
    for name in (b"localhost", b"127.0.0.1", b"[::1]", b"box.example", b"box.example:80"):
        assert status(http, name, (b"origin", b"http://box.example")) == 200
    assert status(http, b"evil.example") == 421 and status(http, b"localhost", (b"origin", b"http://evil.example")) == 403


def test_the_page_fits_a_narrow_window_and_shows_errors_in_their_colour():
    """A column of 1fr is as wide as the longest line of code in it. A rule of a class is weaker than one of an id."""
    page = Path(codesage.__file__).parent / "serve/page"
    style = (page / "style.css").read_text(encoding="utf-8")
    columns = re.findall(r"grid-template-columns: ([^;}]+)", style)
    assert len(columns) == 2 and all("1fr" not in column.replace("minmax(0, 1fr)", "") for column in columns)
    assert re.search(r"^#title\.error \{ color: var\(--error\); \}$", style, re.MULTILINE)


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no browser")
def test_the_page_shows_results_in_a_browser(served, encoder, tmp_path):
    """What a user sees: results for the query in the address, names as plain text, and a way to find similar code."""
    from codesage.serve.app import app_of

    hosts = frozenset({f"127.0.0.1:{(port := free_port())}"})
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=5000",
        "--dump-dom",
        f"--user-data-dir={tmp_path}",
        f"http://127.0.0.1:{port}/#add%20up%20numbers",
    ]
    with running(Guard(app_of(served[1]), hosts=hosts), port):  # without a token
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert 'class="hit"' in done.stdout and "files.py:6" in done.stdout and "<mark>numbers</mark>" in done.stdout
    assert "3 files" in done.stdout and "similar</button>" in done.stdout
