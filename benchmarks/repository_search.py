"""What each rule of the ranking gives in whole repositories: the task `repository-search` of `codesage evaluate`, rule by rule.

    python benchmarks/repository_search.py DATA --cache DIR [--model default] [--dense-weight W] [--cold] [--cold-alone]
        [--only REPO]... [--out FILE]

DATA holds repositories.jsonl and queries.jsonl (the public benchmark of MinishLab/semble). Each repository is fetched into the
cache at its pinned revision and indexed there once for each model; one that cannot be fetched is named and left out. The
figure is NDCG@10 (codesage.evaluate.searching), the mean over the queries of a repository, then over repositories.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from unittest.mock import patch

import codesage
from codesage.evaluate.reports import environment
from codesage.evaluate.repositories import laid_out, read
from codesage.evaluate.searching import VECTORS_ALONE, gains, indexed
from codesage.evaluate.tasks import Question, RepositoryTask
from codesage.search import partial
from codesage.search.database import DATABASE
from codesage.search.defaults import DENSE_WEIGHT
from codesage.search.index import Index
from codesage.search.ranking import Rules
from codesage.walk import walk

OFF = {
    **dict.fromkeys(("file", "whole", "name", "home", "path", "part", "identifier", "literal"), 0.0),
    "later": 1.0,
    "kinds": {},
}
SYSTEMS = {  # (weight of the vectors, rules)
    "full text, no rule": (0.0, Rules(**OFF)),
    "vectors, no rule": (VECTORS_ALONE, Rules(**OFF)),
    "fused, no rule": (DENSE_WEIGHT, Rules(**OFF)),
    "full text": (0.0, Rules()),
    "vectors": (VECTORS_ALONE, Rules()),
    "all": (DENSE_WEIGHT, Rules()),
    "all, weight 2": (2.0, Rules()),
    **{f"all without {rule}": (DENSE_WEIGHT, Rules(**{rule: off})) for rule, off in OFF.items()},
    **{f"{rule} alone": (DENSE_WEIGHT, Rules(**{**OFF, rule: getattr(Rules(), rule)})) for rule in OFF},
}
COLD = {"not encoded, words and static vectors": 0, "not encoded, the best encoded for each query": partial._MOST}


def main() -> None:
    """Measure, print a line for each repository, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--model", default="default", help="a model folder, or the bundled one")
    parser.add_argument("--dense-weight", type=float, help="measure this weight only; default: full text, vectors, fused")
    parser.add_argument("--cold", action="store_true", help="also measure an index that is read but not encoded")
    parser.add_argument("--cold-alone", action="store_true", help="measure such an index alone")
    parser.add_argument("--only", action="append", default=[], help="a repository by its name; may be given again")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    cold, systems = arguments.cold or arguments.cold_alone, dict(SYSTEMS)
    if arguments.dense_weight is not None:
        systems = {f"weight {arguments.dense_weight:g}": (arguments.dense_weight, Rules())}
    if arguments.cold_alone:
        systems = {}
    names = [*systems, *(COLD if cold else ())]
    encoder = codesage.load(None if arguments.model == "default" else arguments.model)
    task = task_of(arguments.data, arguments.cache, arguments.only)
    repositories = {}
    for repository in task.searched:
        root = task.folders[repository.name]
        figures = {"language": repository.language, "queries": len(repository.questions), "published": repository.published}
        if systems:
            figures |= measured(root, arguments.cache / "indexes", encoder, repository.questions, systems)
        if cold:
            figures |= measured_cold(root, encoder, repository.questions)
        repositories[repository.name] = figures
        print(repository.name, {name: figures[name] for name in names}, flush=True)
    record = {
        "date": date.today().isoformat(),
        **environment(),
        "model": encoder.fingerprint,
        "missing": list(task.missing),
        "NDCG@10": summary(repositories, names),
        "repositories": repositories,
    }
    print(json.dumps({"NDCG@10": record["NDCG@10"], "missing": record["missing"]}, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def task_of(data: Path, cache: Path, only: Sequence[str]) -> RepositoryTask:
    """The task in `data`, or of it the repositories `only`, laid out in `cache`."""
    (task,) = read(data)
    if only:
        task = RepositoryTask(task.name, [one for one in task.repositories if one.name in only])
    return laid_out(task, cache, download=True, say=print)


def measured(root: Path, cache: Path, encoder, asked: Sequence[Question], systems: dict) -> dict[str, float]:
    """Sizes, and the NDCG@10 of each system, with a complete index."""
    with indexed(root, cache, encoder) as index:
        return {
            "chunks": index.status().chunks,
            "source_bytes": sum(path.stat().st_size for path in walk(root)),
            "index_bytes": (index.folder / DATABASE).stat().st_size,
            **{name: mean_ndcg(index, encoder, asked, *system) for name, system in systems.items()},
        }


def mean_ndcg(index: Index, encoder, questions: Sequence[Question], dense_weight: float, rules: Rules, **options) -> float:
    """The mean over the questions about a repository."""
    return round(float(gains(index, encoder, questions, dense_weight=dense_weight, rules=rules, **options).mean()), 4)


def measured_cold(root: Path, encoder, asked: Sequence[Question]) -> dict[str, float]:
    """NDCG@10 of an index that is read and not encoded, by the most chunks that a query has encoded."""
    scores = {}
    for name, most in COLD.items():
        with tempfile.TemporaryDirectory() as folder, patch.object(partial, "_MOST", most), patch.object(Index, "_encode"):
            index = Index.open(root, folder=Path(folder) / "index", encoder=encoder)
            index.update(encoder)
            scores[name] = mean_ndcg(index, encoder, asked, DENSE_WEIGHT, Rules(), seconds=60.0)
    return scores


def summary(repositories: dict, systems: list[str]) -> dict:
    """Means over repositories of each system, and of each that was published for all of them."""
    means = {name: round(statistics.mean(one[name] for one in repositories.values()), 4) for name in systems}
    published = set.intersection(*(set(one["published"]) for one in repositories.values()))
    return means | {
        f"{name}, published": round(statistics.mean(one["published"][name] for one in repositories.values()), 4)
        for name in sorted(published)
    }


if __name__ == "__main__":
    main()
