"""From process start to the first answer in a repository never seen, beside bm25s over the same files.

    python benchmarks/cold_start.py [--functions 5000] [--rounds 5] [--out FILE]

The repository is a sample of the standard library's files with that many functions. After one that is not counted, in which
Python compiles modules, each round runs, in turn and as processes of their own: `codesage search` with an empty cache and no
index, the same search again, and bm25s: read the files, cut them into windows of 40 lines, index these, answer. Wall time
varies with what else the machine does; processor time is recorded beside it, and so is that of a loop of ten million additions,
which tells how fast the machine was. Needs bm25s ("train").
"""

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from datetime import date
from pathlib import Path

from codesage.evaluate.reports import environment
from codesage.syntax import functions, parse
from codesage.walk import Text, read_text, walk

QUERY = "parse an email header"
BM25S = """
import sys
from pathlib import Path
import bm25s
texts = []
for path in sorted(Path(sys.argv[1]).rglob("*.py")):
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    texts += ["\\n".join(lines[start : start + 40]) for start in range(0, len(lines), 40)]
index = bm25s.BM25()
index.index(bm25s.tokenize(texts, stopwords=None, show_progress=False), show_progress=False)
ranked, _ = index.retrieve(bm25s.tokenize(sys.argv[2], stopwords=None, show_progress=False), k=10, show_progress=False)
print(texts[ranked[0][0]][:80])
"""
LOOP = "total = 0\nfor number in range(10_000_000): total += number"


def main() -> None:
    """Measure, print, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--functions", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "code"
        count, size = lay_out(root, arguments.functions)
        rounds = [measured(root, Path(temporary)) for _ in range(arguments.rounds + 1)][1:]
    medians = {
        name: {unit: round(statistics.median(one[name][unit] for one in rounds), 2) for unit in ("wall_s", "cpu_s")}
        for name in rounds[0]
    }
    ratio = round(statistics.median(one["codesage, cold"]["wall_s"] / one["bm25s"]["wall_s"] for one in rounds), 2)
    record = {
        "date": date.today().isoformat(),
        **environment(),
        "functions": count,
        "source_bytes": size,
        "load": [round(one, 1) for one in os.getloadavg()],
        "medians": medians,
        "cold over bm25s": ratio,
        "rounds": rounds,
    }
    print(json.dumps({key: value for key, value in record.items() if key != "rounds"}, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def lay_out(root: Path, most: int) -> tuple[int, int]:
    """Copy files until they hold `most` functions; returns the number of functions and bytes."""
    library = Path(sysconfig.get_path("stdlib"))
    left_out = {"site-packages", "test"}
    files = [path for path in walk(library) if path.suffix == ".py" and not left_out.intersection(path.parts)]
    random.Random(0).shuffle(files)
    count = size = 0
    for path in files:
        read = read_text(path, name=path.name)
        if count >= most or not isinstance(read, Text):
            continue
        count += sum(function.kind == "function" for function in functions(parse(read.text, "python")))
        size += path.stat().st_size
        copy = root / path.relative_to(library)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return count, size


def measured(root: Path, temporary: Path) -> dict:
    """One round: seconds of each process."""
    fresh = Path(tempfile.mkdtemp(dir=temporary))
    ours = [sys.executable, "-m", "codesage", "search", QUERY, str(root), "--index-dir", str(fresh / "index")]
    environment = with_bytecode(temporary) | {"XDG_CACHE_HOME": str(fresh / "cache")}
    return {
        "codesage, cold": timed(ours, environment),
        "codesage, again": timed(ours, environment),
        "bm25s": timed([sys.executable, "-c", BM25S, str(root), QUERY], environment),
        "loop": timed([sys.executable, "-c", LOOP], environment),
    }


def with_bytecode(folder: Path) -> dict[str, str]:
    """An environment in which Python keeps what it compiles, as it does for an installed package, in `folder`."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def timed(command: list[str], environment: dict) -> dict:
    """Wall and processor seconds of a process."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall_s": round(wall, 3), "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3)}


if __name__ == "__main__":
    main()
