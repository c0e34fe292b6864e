"""How well `codesage clones` tells functions that do the same, by threshold.

    python benchmarks/clones.py path/to/benchmarks/java-csharp [--out FILE.json]
    python benchmarks/clones.py path/to/benchmarks/mbxp --tasks 120

Each function is written into a file of its own, with a name that says nothing, and indexed. A pair is right when both are
of one task (MBXP: solutions in seven languages, names masked) or one line (Java and its port in C#). Precision counts all other
pairs as wrong, also where two tasks happen to ask for the same.
"""

import argparse
import json
import random
import tempfile
from datetime import date
from itertools import combinations
from pathlib import Path

import codesage
from codesage.evaluate.local import java_csharp
from codesage.evaluate.reports import environment
from codesage.languages import LANGUAGES
from codesage.search.clones import centred, groups_of, means_of
from codesage.search.index import Index

THRESHOLDS = [round(0.5 + 0.025 * step, 3) for step in range(20)]


def main() -> None:
    """Measure, print, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("--tasks", type=int, default=500, help="at most")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    functions = _functions(arguments.benchmark, arguments.tasks)
    encoder = codesage.load()
    with tempfile.TemporaryDirectory() as folder:
        tasks, vectors_ND = _vectors(functions, Path(folder), encoder)
    right = sum(one == other for one, other in combinations(tasks, 2))
    rows = [_row(groups_of(vectors_ND, threshold), tasks, right, threshold) for threshold in THRESHOLDS]
    for row in rows:
        print(row, flush=True)
    record = {
        "date": date.today().isoformat(),
        **environment(),
        "model": encoder.fingerprint,
        "benchmark": arguments.benchmark.name,
        "functions": len(tasks),
        "pairs": right,
        "thresholds": rows,
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n")


def _functions(benchmark: Path, most: int) -> list[tuple[int, str, str]]:
    """(task, language, code), shuffled."""
    if benchmark.name == "mbxp":
        rows = [(json.loads(line), file.stem) for file in sorted(benchmark.glob("*.jsonl")) for line in file.open()]
        first = set(sorted({row["task"] for row, _ in rows})[:most])
        return _shuffled(
            [
                (row["task"], language, row["code"].replace(row["entry_point"], "solve"))
                for row, language in rows
                if row["task"] in first
            ]
        )
    task = java_csharp(benchmark)[0]
    code = zip(task.queries[:most], task.candidates[:most], strict=True)
    return _shuffled(
        [
            (number, language, text)
            for number, both in enumerate(code)
            for language, text in zip(("java", "csharp"), both, strict=True)
        ]
    )


def _shuffled(rows: list) -> list:
    random.Random(0).shuffle(rows)
    return rows


def _vectors(functions: list[tuple[int, str, str]], folder: Path, encoder):
    code = folder / "code"
    code.mkdir()
    tasks_of = {}
    for number, (task, language, text) in enumerate(functions):
        name = f"f{number}{LANGUAGES[language].suffixes[0]}"
        (code / name).write_text(text, encoding="utf-8")
        tasks_of[name] = task
    index = Index.open(code, folder=folder / "index", encoder=encoder)
    index.update(encoder)
    view = index.view()
    largest: dict[str, int] = {}
    for place, path in enumerate(view.paths):
        if view.kinds[place] == "function" or path not in largest:
            largest[path] = place
    places = sorted(largest.values())
    return [tasks_of[view.paths[place]] for place in places], centred(
        means_of(view, places), [view.languages[place] for place in places]
    )


def _row(groups, tasks: list[int], right: int, threshold: float) -> dict:
    pairs = [(one, other) for rows, _ in groups for one, other in combinations(rows, 2)]
    hits = sum(tasks[one] == tasks[other] for one, other in pairs)
    precision, recall = hits / max(1, len(pairs)), hits / right
    return {
        "threshold": threshold,
        "groups": len(groups),
        "precision": round(100 * precision, 1),
        "recall": round(100 * recall, 1),
        "F1": round(200 * hits / max(1, len(pairs) + right), 1),
    }


if __name__ == "__main__":
    main()
