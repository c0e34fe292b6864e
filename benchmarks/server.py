"""Many clients at once: is every request answered, how long does it take, and how fast does a full server say no?

    python benchmarks/server.py [--clients 200] [--seconds 20] [--out FILE.json]

`codesage serve` is started with a small queue. Each client asks for embeddings of one to eight functions of the standard
library, as OpenAI's client does (base64), one request after the other, and sends a refused one again when the answer says so
(Retry-After). A further client, in a process of its own, sends ten requests a second, whatever the answers: the 200 clients
share one process, where an answer waits for the others before its time is taken. It also asks for `/health` ten times a second,
which shows how long the server's loop is busy. The garbage collectors of both clients leave out what is loaded at the start, as
they would stop a client for as long as a refusal may take. Reported: answers by status, requests without
an answer by how far they came, the quantiles of their times, how many requests the server has counted, the memory and the
processor time of its process, and whether each vector is the one that `encode` gives.

A request without an answer has `not sent` if no connection took all of it, `no answer` if the connection ended after it was
sent, and `no answer (used before)` if that connection had served others: then the server may have closed it before the request
came. `too late` is one that was sent and waited two minutes. If the server counts as many requests as have answers, it has read
none of the lost ones.
"""

import argparse
import asyncio
import base64
import gc
import json
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import defaultdict
from datetime import date
from pathlib import Path

import httpx2
import numpy as np

import codesage
from codesage.evaluate.reports import environment
from codesage.syntax import functions, parse

QUEUE_TOKENS = 16_384
PATIENCE = 120  # seconds that a client waits for an answer
_COUNTED = 'codesage_requests_total{path="/v1/embeddings"'
_EVERY = 0.1  # seconds between two requests of the client in a process of its own


def main() -> None:
    """Measure, print, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    texts = functions_of_the_standard_library(400)
    expected = codesage.load().encode(texts)
    with tempfile.TemporaryDirectory() as folder:
        process, url = started(Path(folder))
        try:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                alone = pool.apply_async(asked_alone, (url, texts, arguments.seconds))
                began = processor_seconds(process.pid)
                gc.freeze()
                answers, memory = asyncio.run(load_of(url, texts, process.pid, arguments))
                alone, health = alone.get()
                counted = counted_by(url)
                busy = processor_seconds(process.pid) - began
        finally:
            process.terminate()
            process.wait(20)
    record = {
        "date": date.today().isoformat(),
        **environment(),
        "clients": arguments.clients,
        "seconds": arguments.seconds,
        "queue_tokens": QUEUE_TOKENS,
        **summary(answers),
        "client in a process of its own": summary(alone),
        "health": summary(health),
        "answered": sum(isinstance(status, int) for status, *_ in answers + alone),
        "counted by the server": counted,
        "least_cosine": round(min(least(answer, expected) for answer in answers if answer[0] == 200), 5),
        "server_memory_mb": memory,
        "server_processor_seconds": round(busy, 2),
        "vectors": sum(len(answer[2]) for answer in answers if answer[0] == 200),
    }
    print(json.dumps(record, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def functions_of_the_standard_library(count: int) -> list[str]:
    """The code of `count` functions, at random."""
    codes = []
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        codes += [function.signature + function.body for function in functions(parse(file.read_text("utf-8"), "python"))]
    return random.Random(0).sample(codes, count)


def started(folder: Path) -> tuple[subprocess.Popen, str]:
    """A server that has its port open, and its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"--port": port, "--index-dir": folder / "index", "--queue-tokens": QUEUE_TOKENS}
    words = [str(word) for pair in options.items() for word in pair]
    command = [sys.executable, "-m", "codesage", "serve", str(folder), *words]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return process, f"http://127.0.0.1:{port}"
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def processor_seconds(pid: int) -> float:
    """The processor time of a process so far, of its own code and of the system for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load_of(url: str, texts: list[str], pid: int, arguments: argparse.Namespace) -> tuple[list, list]:
    """(status, seconds, rows, content) of each request, and the server's resident memory in MB each second."""
    answers: list[tuple[int | str, float, list[int], bytes]] = []
    end = time.monotonic() + arguments.seconds
    limits = httpx2.Limits(max_connections=arguments.clients)

    async def client(number: int, session: httpx2.AsyncClient) -> None:
        drawn = random.Random(number)
        while time.monotonic() < end:
            rows = drawn.sample(range(len(texts)), drawn.randint(1, 8))
            while True:
                status, took, answer = await asked(session, [texts[row] for row in rows])
                answers.append((status, took, rows, answer.content if answer else b""))
                if answer is None or status != 429:
                    break
                await asyncio.sleep(float(answer.headers["retry-after"]) * (1 + drawn.random()))

    async def watched() -> list[float]:
        sizes = []
        while time.monotonic() < end:
            sizes.append(round(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1))
            await asyncio.sleep(1)
        return sizes

    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE, limits=limits) as session:
        watching = asyncio.create_task(watched())
        await asyncio.gather(*(client(number, session) for number in range(arguments.clients)))
        return answers, await watching


async def asked(session: httpx2.AsyncClient, texts: list[str]) -> tuple[int | str, float, httpx2.Response | None]:
    """The status of a request for the vectors of `texts`, the seconds it took, and the answer if there is one."""
    reached: set[str] = set()

    async def note(event: str, facts: dict) -> None:
        reached.add(event)

    body, began = {"input": texts, "encoding_format": "base64"}, time.monotonic()
    try:
        answer = await session.post("/v1/embeddings", json=body, extensions={"trace": note})
    except httpx2.TransportError as error:  # such as a connection that the server has closed
        return lost(error, reached), time.monotonic() - began, None
    return answer.status_code, time.monotonic() - began, answer


def lost(error: httpx2.TransportError, reached: set[str]) -> str:
    """How far a request came that has no answer. `reached`: events of its connection."""
    if "http11.send_request_body.complete" not in reached:
        return "not sent"
    if isinstance(error, httpx2.TimeoutException):
        return "too late"
    return "no answer" if "connection.connect_tcp.started" in reached else "no answer (used before)"


def counted_by(url: str) -> int:
    """The requests for vectors that the server has answered so far."""
    lines = httpx2.get(f"{url}/metrics", timeout=PATIENCE).text.splitlines()
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(_COUNTED)))


def asked_alone(url: str, texts: list[str], seconds: float) -> tuple[list, list]:
    """(status, seconds) of the requests of one client that sends one every `_EVERY` seconds, and of those for `/health`."""
    answers, health, drawn = [], [], random.Random(0)
    gc.freeze()

    async def ask(session: httpx2.AsyncClient) -> None:
        status, took, _ = await asked(session, drawn.sample(texts, drawn.randint(1, 8)))
        answers.append((status, took))

    async def look(session: httpx2.AsyncClient) -> None:
        began = time.monotonic()
        try:
            status = (await session.get("/health")).status_code
        except httpx2.TransportError:
            status = "no answer"
        health.append((status, time.monotonic() - began))

    async def all_of_them() -> None:
        async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE) as session:
            asked = []
            for _ in range(int(seconds / _EVERY)):
                for request in (ask, look):
                    asked.append(asyncio.create_task(request(session)))
                    await asyncio.sleep(_EVERY / 2)
            await asyncio.gather(*asked)

    asyncio.run(all_of_them())
    return answers, health


def least(answer: tuple, expected: np.ndarray) -> float:
    """The least cosine of the vectors of an answer with those of `encode`."""
    rows = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in json.loads(answer[3])["data"]]
    return float((np.array(rows) * expected[answer[2]]).sum(1).min())


def summary(answers: list[tuple]) -> dict:
    """Counts and quantiles of times, in milliseconds, by status."""
    by_status = defaultdict(list)
    for status, took, *_ in answers:
        by_status[status].append(1000 * took)
    return {
        "answers": {str(status): len(times) for status, times in sorted(by_status.items(), key=str)},
        "milliseconds": {
            str(status): {
                name: round(float(np.quantile(times, share)), 1)
                for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
            }
            for status, times in sorted(by_status.items(), key=str)
        },
    }


if __name__ == "__main__":
    main()
