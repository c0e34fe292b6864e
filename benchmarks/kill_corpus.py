"""SIGKILL a build at random moments, run it again, and compare: the corpus must equal that of a build left alone.

    python benchmarks/kill_corpus.py benchmarks/kill_corpus.toml --cache DIR [--kills 30] [--damages 1000] [--out FILE.json]

Every kill comes at a random moment of what is left to do; after the last one the build is run to its end. Then one file is
damaged at a time: nine times of ten a file of the corpus, which must be refused in one line that names the file, and else a
file of a package in the cache, where the next build must stop with such a line or fetch the package anew. Damage to the
counts in the manifest, which no hash covers, may pass, but the corpus stays the same.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path

from codesage.artifacts import MANIFEST, open_artifact
from codesage.corpus.commands import sources_of
from codesage.corpus.sources import digests
from codesage.corpus.sources.packages import Package
from codesage.errors import CodesageError
from codesage.evaluate.reports import environment
from damage import harm


def main() -> None:
    """Build once in peace, then kill builds, then damage files; exit code 1 when there was a failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--cache", required=True, type=Path, help="folder for downloads; damaged copies are made elsewhere")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--damages", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    drawn = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "corpus"
        command = [sys.executable, "-m", "codesage", "corpus", "build", *map(str, arguments.sources)]
        command += ["--cache", str(arguments.cache), "--workers", "2", "--out", str(out)]
        started = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        whole, expected = time.monotonic() - started, open_artifact(out, "corpus").fingerprint
        builds, equal = killed(command, out, expected, whole, arguments.kills, drawn)
        outcomes, failures = damaged(out, sources_of(arguments.sources), arguments.cache, arguments.damages, drawn)
        record = {
            "date": date.today().isoformat(),
            **environment(),
            "kills": arguments.kills,
            "builds": builds,
            "equal": equal,
            "seconds of a build": round(whole, 1),
            "damages": arguments.damages,
            "outcomes": outcomes,
            "failures": failures,
        }
    print(json.dumps(record, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    sys.exit(equal != builds or bool(failures))


def killed(command: list[str], out: Path, expected: str, whole: float, kills: int, drawn: random.Random) -> tuple[int, int]:
    """Kill builds of `whole` seconds; returns (finished builds, builds with the fingerprint `expected`)."""
    hits, builds, equal = 0, 0, 0
    while hits < kills:
        shutil.rmtree(out)
        while not out.exists():
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(drawn.uniform(0.1, 1.0) * whole if hits < kills else None)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                hits += 1
            process.wait()
        builds += 1
        equal += open_artifact(out, "corpus").fingerprint == expected
    return builds, equal


def damaged(corpus: Path, sources: list, cache: Path, damages: int, drawn: random.Random) -> tuple[dict[str, int], list[str]]:
    """Damage files one at a time; returns (how often each outcome was seen, what was wrong)."""
    packages = [source for source in sources if isinstance(source, Package)]
    outcomes, failures = Counter(), []
    for _ in range(damages):
        with tempfile.TemporaryDirectory() as folder:
            try:
                if packages and drawn.random() < 0.1:
                    outcome = damaged_package(drawn.choice(packages), cache, Path(folder), drawn)
                else:
                    outcome = damaged_corpus(corpus, Path(folder), drawn)
            except AssertionError as error:
                failures.append(str(error))
                outcome = "failure"
        outcomes[outcome] += 1
    return dict(sorted(outcomes.items())), failures


def damaged_corpus(corpus: Path, folder: Path, drawn: random.Random) -> str:
    """Damage a file of a copy of the corpus; returns the outcome. AssertionError when it was not as promised."""
    copy = folder / "corpus"
    shutil.copytree(corpus, copy, copy_function=os.link)
    file = drawn.choice(sorted(path for path in copy.rglob("*") if path.is_file()))
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data)  # no longer the file of the corpus itself
    what = f"{harm(file, drawn)} {file.relative_to(copy)}"
    try:
        opened = open_artifact(copy, "corpus")
    except CodesageError as error:
        named = file.name in str(error) or (file.name == MANIFEST and str(copy) in str(error))
        assert named and "\n" not in str(error), f"{what}: {error}"
        return "corpus refused"
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from None
    same = opened.fingerprint == open_artifact(corpus, "corpus").fingerprint
    assert file.name == MANIFEST and same, f"{what}: the damage passed"
    return "counts changed, corpus the same"


def damaged_package(source: Package, cache: Path, folder: Path, drawn: random.Random) -> str:
    """Damage a fetched file in a copy of the cache; returns the outcome. AssertionError when it was not as promised."""
    copy = source.folder(folder)
    shutil.copytree(source.folder(cache), copy)
    digests.record(copy, copy)
    file = drawn.choice(sorted(path for path in copy.rglob("*") if path.is_file()))
    what = f"{harm(file, drawn)} {source.key} {file.name}"
    try:
        source.fetch(folder)
    except CodesageError as error:
        assert file.name in str(error) and "\n" not in str(error), f"{what}: {error}"
        return "package refused"
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from None
    assert digests.digests_of(copy) == digests.digests_of(source.folder(cache)), f"{what}: the damage passed"
    return "package fetched anew"


if __name__ == "__main__":
    main()
