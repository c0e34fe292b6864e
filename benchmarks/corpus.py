"""The corpus pipeline beside a bare tree-sitter parse of the same files, and two workers beside one.

    python benchmarks/corpus.py benchmarks/corpus.toml --cache DIR [--exclude-benchmarks F] [--rounds N] [--out FILE.json]

The pipeline runs with one worker and with two; beside it one process parses, with nothing but tree-sitter, every source
file that the pipeline is given, and, apart, those that it keeps: it reads the others too (copies, generated, minified,
data), but never parses them. Ratios are medians over rounds in which all of them take turns, since a shared machine drifts.
Peak memory is that of the largest process so far, times the number of workers, plus that of the parent: an upper bound.
"""

import argparse
import json
import resource
import statistics
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


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--exclude-benchmarks", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.cache.parent) as folder:
        rounds = [one_round(arguments, Path(folder) / str(number)) for number in range(arguments.rounds)]
        facts = open_artifact(Path(folder) / "0" / "1", "corpus", verify=False).facts
    medians = {name: statistics.median(one["ratios"][name] for one in rounds) for name in rounds[0]["ratios"]}
    record = {
        "date": date.today().isoformat(),
        **environment(),
        "ratios, medians": medians,
        "files": sum(facts["documents"].values()),
        "pairs": sum(facts["pairs"].values()),
        "rounds": rounds,
    }
    print(json.dumps(record, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


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
