"""The corpus pipeline beside a bare tree-sitter parse of the same files, and two workers beside one.

    python benchmarks/corpus.py benchmarks/corpus.toml --cache DIR [--exclude-benchmarks F] [--rounds N] [--out FILE.json]
        [--beside CHECKOUT [--beside-sources RECIPE ...] [--workers N]]

The pipeline runs with one worker and with two; beside it one process parses, with nothing but tree-sitter, every source
file that the pipeline is given, and, apart, those that it keeps: it reads the others too (copies, generated, minified,
data), but never parses them. Ratios are medians over rounds in which all of them take turns, since a shared machine drifts.
Peak memory is that of the largest process so far, times the number of workers, plus that of the parent: an upper bound.

With --beside, the code of another checkout and this one build the same packages in turn, with --workers (1), and
nothing else is measured. What counts is the user time of the whole build, since a shared machine waits for others. If
the other code cannot read the recipe (that of 7097687 knows no `sha256`), --beside-sources names one that it can.
"""

import argparse
import compileall
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from unittest.mock import patch

from codesage.artifacts import open_artifact
from codesage.corpus import stage
from codesage.corpus.commands import sources_of
from codesage.corpus.engine import LocalEngine
from codesage.corpus.read import read_documents
from codesage.evaluate.reports import environment
from codesage.languages import grammar_of
from codesage.records import Document

HERE = Path(__file__).resolve().parent.parent
ONE_BUILD = """
import sys
from pathlib import Path
from codesage.corpus import stage
from codesage.corpus.commands import sources_of
exclude, workers, out, cache, *recipes = sys.argv[1:]
settings = stage.Settings(exclude=exclude, workers=int(workers))
built = stage.build(settings, sources_of(list(map(Path, recipes))), out, cache=cache)
print(built.fingerprint, sum(built.facts["pairs"].values()))
"""


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--exclude-benchmarks", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--beside", type=Path, help="a checkout of another commit")
    parser.add_argument("--beside-sources", type=Path, nargs="+", help="the sources for it; default: the same")
    parser.add_argument("--workers", type=int, default=1, help="of each build with --beside")
    arguments = parser.parse_args()
    record = beside(arguments) if arguments.beside else alone(arguments)
    print(json.dumps(record, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def alone(arguments: argparse.Namespace) -> dict:
    """The pipeline beside a bare parse, and two workers beside one."""
    with tempfile.TemporaryDirectory(dir=arguments.cache.parent) as folder:
        rounds = [one_round(arguments, Path(folder) / str(number)) for number in range(arguments.rounds)]
        facts = open_artifact(Path(folder) / "0" / "1", "corpus", verify=False).facts
    medians = {name: statistics.median(one["ratios"][name] for one in rounds) for name in rounds[0]["ratios"]}
    return {
        "date": date.today().isoformat(),
        **environment(),
        "ratios, medians": medians,
        "files": sum(facts["documents"].values()),
        "pairs": sum(facts["pairs"].values()),
        "rounds": rounds,
    }


def beside(arguments: argparse.Namespace) -> dict:
    """Builds with the code of another checkout and with this one, in turn: user seconds, and their ratio."""
    trees = {
        "other": (arguments.beside.resolve(), arguments.beside_sources or arguments.sources),
        "this": (HERE, arguments.sources),
    }
    rounds, built = [], {}
    for checkout, _ in trees.values():
        compileall.compile_dir(checkout / "src", quiet=1)  # else each process would compile the code that it imports
    for number in range(arguments.rounds):
        order = list(trees) if number % 2 == 0 else list(trees)[::-1]
        seconds = {}
        for name in order:
            checkout, sources = trees[name]
            seconds[name], built[name] = build_of(checkout, sources, arguments)
        rounds.append({"first": order[0], **seconds, "ratio": seconds["this"]["user"] / seconds["other"]["user"]})
        print(json.dumps(rounds[-1]), file=sys.stderr, flush=True)
    users = {name: [one[name]["user"] for one in rounds] for name in trees}
    return {
        "date": date.today().isoformat(),
        **environment(),
        "commits": {name: commit_of(checkout) for name, (checkout, _) in trees.items()},
        "sources": [source.name for source in arguments.sources],
        "packages": sorted(source.key for source in sources_of(arguments.sources)),
        "corpora": {name: dict(zip(("fingerprint", "pairs"), text.split(), strict=True)) for name, text in built.items()},
        "workers": arguments.workers,
        "user seconds, medians": {name: statistics.median(some) for name, some in users.items()},
        "ratio, median of rounds": statistics.median(one["ratio"] for one in rounds),
        "ratio of the sums": sum(users["this"]) / sum(users["other"]),
        "ratio of the clock, median": statistics.median(one["this"]["clock"] / one["other"]["clock"] for one in rounds),
        "rounds": rounds,
    }


def build_of(checkout: Path, sources: list[Path], arguments: argparse.Namespace) -> tuple[dict[str, float], str]:
    """Seconds of one build with the code of a checkout, and the fingerprint and number of pairs of the corpus."""
    environ = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(dir=arguments.cache.parent) as folder:
        options = [arguments.exclude_benchmarks, str(arguments.workers), f"{folder}/corpus", str(arguments.cache)]
        command = [sys.executable, "-c", ONE_BUILD, *options]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run([*command, *map(str, sources)], env=environ, check=True, text=True, stdout=subprocess.PIPE)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = {"user": after.ru_utime - before.ru_utime, "system": after.ru_stime - before.ru_stime}
    return {**seconds, "clock": time.perf_counter() - started}, done.stdout


def commit_of(checkout: Path) -> str:
    """The commit that a checkout is at; "" for a folder without one."""
    done = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], text=True, stdout=subprocess.PIPE)
    return done.stdout.strip()


def one_round(arguments: argparse.Namespace, folder: Path) -> dict:
    """Figures of everything that is compared, one after the other, and their ratios."""
    figures = {"bare parse, given": bare_parse(given(arguments)), "1 worker": build(arguments, 1, folder / "1")}
    figures |= {"bare parse, kept": bare_parse(read_documents(folder / "1")), "2 workers": build(arguments, 2, folder / "2")}
    one, two = figures["1 worker"], figures["2 workers"]
    ratios = {
        f"pipeline to bare parse of the files {which}, {seconds}": one[seconds] / figures[f"bare parse, {which}"][seconds]
        for which in ("given", "kept")
        for seconds in ("clock", "processor")
    }
    ratios["one worker to two, clock"] = one["clock"] / two["clock"]
    same = len({open_artifact(folder / number, "corpus").fingerprint for number in "12"}) == 1
    return {"same bytes": same, "ratios": ratios, "figures": figures}


def build(arguments: argparse.Namespace, workers: int, out: Path) -> dict:
    """Seconds of the clock by phase and in all, of the processor in all, and megabytes at the most."""
    phases, last = Counter(), [time.perf_counter(), ""]

    def on_progress(progress) -> None:
        now = time.perf_counter()
        phases[last[1] or "start"] += now - last[0]
        last[:] = [now, progress.phase]

    before, started = processor(), time.perf_counter()
    settings = stage.Settings(exclude=arguments.exclude_benchmarks)
    engine = LocalEngine(workers)
    stage.build(settings, sources_of(arguments.sources), out, engine=engine, cache=arguments.cache, progress=on_progress)
    phases[last[1]] += time.perf_counter() - last[0]
    own, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    peak = own + workers * child
    return {
        "clock": time.perf_counter() - started,
        "processor": processor() - before,
        "phases": dict(phases),
        "megabytes of memory": peak * (1 if sys.platform == "darwin" else 1024) / 1e6,
    }


def given(arguments: argparse.Namespace) -> Iterator[Document]:
    """Every source file that the pipeline reads, whatever it makes of it."""
    with patch("codesage.corpus.sources.recognise.reason", return_value=""):
        for source in sources_of(arguments.sources):
            for entry in source.documents(arguments.cache):
                if isinstance(entry, Document) and entry.language:
                    yield entry


def bare_parse(documents: Iterable[Document]) -> dict[str, float]:
    """Files through tree-sitter, one after the other: seconds, and megabytes; reading them is not counted."""
    import tree_sitter

    parsers, totals = {}, {"clock": 0.0, "processor": 0.0, "megabytes": 0.0}
    for document in documents:
        dialect = document.language, document.path.endswith(".tsx")
        if dialect not in parsers:
            parsers[dialect] = tree_sitter.Parser(grammar_of(document.language, tsx=dialect[1]))
            parsers[dialect].parse(b"")
        source = document.text.encode()
        started, before = time.perf_counter(), time.process_time()
        parsers[dialect].parse(source)
        totals["clock"] += time.perf_counter() - started
        totals["processor"] += time.process_time() - before
        totals["megabytes"] += len(source) / 1e6
    return totals


def processor() -> float:
    """Seconds of the processor that this process and its children that ended have used."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
