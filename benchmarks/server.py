"""Many clients at once: is every request answered, how long does it take, and how fast does a full server say no?

    python benchmarks/server.py [--clients 200] [--seconds 20] [--out FILE.json]

`codesage serve` is started on this repository with a small queue. Each client sends embeddings of one to eight functions of the
standard library, one request after the other, and sends a refused one again after a pause. Reported: answers by status, the
quantiles of their times, the memory of the server's process, and whether each vector is the one that `encode` gives.
"""

import argparse
import asyncio
import json
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
_PAUSE = 0.2  # seconds, after a refusal


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
            answers, memory = asyncio.run(load_of(url, texts, expected, process.pid, arguments))
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
        "server_memory_mb": memory,
    }
    print(json.dumps(record, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def functions_of_the_standard_library(count: int) -> list[str]:
    """The code of `count` functions, at random."""
    found = []
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        found += [function.signature + function.body for function in functions(parse(file.read_text("utf-8"), "python"))]
    return random.Random(0).sample(found, count)


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


async def load_of(
    url: str, texts: list[str], expected: np.ndarray, pid: int, arguments: argparse.Namespace
) -> tuple[list, list]:
    """(status, seconds, least cosine) of each answer, and the server's resident memory in MB each second."""
    answers: list[tuple[int, float, float]] = []
    end = time.monotonic() + arguments.seconds
    limits = httpx2.Limits(max_connections=arguments.clients)

    async def client(number: int, session: httpx2.AsyncClient) -> None:
        drawn = random.Random(number)
        while time.monotonic() < end:
            rows = drawn.sample(range(len(texts)), drawn.randint(1, 8))
            while True:
                began = time.monotonic()
                answer = await session.post("/v1/embeddings", json={"input": [texts[row] for row in rows]})
                took = time.monotonic() - began
                least = 1.0
                if answer.status_code == 200:
                    vectors = np.array([one["embedding"] for one in answer.json()["data"]])
                    least = float((vectors * expected[rows]).sum(1).min())
                answers.append((answer.status_code, took, least))
                if answer.status_code != 429:
                    break
                await asyncio.sleep(_PAUSE * (1 + drawn.random()))

    async def watched() -> list[float]:
        sizes = []
        while time.monotonic() < end:
            sizes.append(round(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1))
            await asyncio.sleep(1)
        return sizes

    async with httpx2.AsyncClient(base_url=url, timeout=120, limits=limits) as session:
        watching = asyncio.create_task(watched())
        await asyncio.gather(*(client(number, session) for number in range(arguments.clients)))
        return answers, await watching


def summary(answers: list[tuple[int, float, float]]) -> dict:
    """Counts and quantiles of times, in milliseconds, by status; the least cosine with the vectors of `encode`."""
    by_status = defaultdict(list)
    for status, took, _ in answers:
        by_status[status].append(1000 * took)
    return {
        "answers": {str(status): len(times) for status, times in sorted(by_status.items())},
        "milliseconds": {
            str(status): {
                name: round(float(np.quantile(times, share)), 1)
                for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
            }
            for status, times in sorted(by_status.items())
        },
        "least_cosine": round(min(least for _, _, least in answers), 5),
    }


if __name__ == "__main__":
    main()
