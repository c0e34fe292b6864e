"""Search in whole repositories: natural questions whose answers are files, measured as the benchmark's authors do.

    python benchmarks/repository_search.py DATA --cache DIR [--model default] [--dense-weight W] [--cold] [--only REPO]...
        [--out FILE]

DATA holds repositories.jsonl and queries.jsonl (the public benchmark of MinishLab/semble). Each repository is cloned into
the cache, its `root` is laid out at the pinned revision and indexed there once for each model; a revision that is not
found is named and left out. NDCG@10 over chunks: the rank of a target is that of the first chunk whose path ends with it
and overlaps its span, all targets count alike, and the ideal is over the smaller of ten and the number of targets. The mean
is over the queries of a repository, then over repositories.
"""

import argparse
import json
import math
import statistics
import subprocess
import tarfile
import tempfile
from collections import defaultdict
from datetime import date
from io import BytesIO
from pathlib import Path
from unittest.mock import patch

import codesage
from codesage.evaluate.reports import environment
from codesage.search import partial
from codesage.search import query as station
from codesage.search.database import DATABASE
from codesage.search.index import Index
from codesage.search.ranking import DENSE_WEIGHT, Rules
from codesage.walk import walk

TOP = 10
OFF = {"file": 0.0, "later": 1.0, "name": 0.0, "path": 0.0, "part": 0.0, "literal": 0.0, "kinds": {}}
VECTORS_ALONE = 1e6
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
    parser.add_argument("--only", action="append", default=[], help="a repository by its name; may be given again")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    systems = dict(SYSTEMS)
    if arguments.dense_weight is not None:
        systems = {f"weight {arguments.dense_weight:g}": (arguments.dense_weight, Rules())}
    names = [*systems, *(COLD if arguments.cold else ())]
    encoder = codesage.load(None if arguments.model == "default" else arguments.model)
    queries = defaultdict(list)
    for query in read_lines(arguments.data / "queries.jsonl"):
        queries[query["repo"]].append(query)
    repositories, missing = {}, []
    for repository in read_lines(arguments.data / "repositories.jsonl"):
        if arguments.only and repository["repo"] not in arguments.only:
            continue
        root = lay_out(repository, arguments.cache)
        if root is None:
            missing.append(repository["repo"])
            continue
        index = indexed(root, arguments.cache / "indexes", encoder)
        asked = queries[repository["repo"]]
        repositories[repository["repo"]] = {
            "language": repository["language"],
            "chunks": index.status().chunks,
            "source_bytes": sum(path.stat().st_size for path in walk(root)),
            "index_bytes": (index.folder / DATABASE).stat().st_size,
            "queries": len(asked),
            **{name: round(mean_ndcg(index, encoder, asked, *system), 4) for name, system in systems.items()},
            "published": repository["published_ndcg10"],
        }
        if arguments.cold:
            repositories[repository["repo"]] |= measured_cold(root, encoder, asked)
        print(repository["repo"], {name: repositories[repository["repo"]][name] for name in names}, flush=True)
    record = {
        "date": date.today().isoformat(),
        **environment(),
        "model": encoder.fingerprint,
        "missing": missing,
        "NDCG@10": summary(repositories, names),
        "repositories": repositories,
    }
    print(json.dumps({"NDCG@10": record["NDCG@10"], "missing": missing}, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_lines(file: Path) -> list[dict]:
    """The objects of a JSON lines file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def lay_out(repository: dict, cache: Path) -> Path | None:
    """The folder to search, of the pinned revision; None when the revision is not to be had."""
    name, revision = repository["github"].replace("/", "+"), repository["revision"]
    tree = cache / "trees" / f"{name}-{revision[:12]}"
    if not tree.exists():
        clone = cache / "clones" / name
        if not clone.exists():
            clone.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                ["git", "clone", "--quiet", "--no-checkout", f"https://github.com/{repository['github']}", clone], check=True
            )
        packed = subprocess.run(["git", "-C", clone, "archive", revision, repository["root"]], capture_output=True, check=False)
        if packed.returncode:
            return None
        with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
            archive.extractall(tree, filter="data")
    return tree / repository["root"]


def indexed(root: Path, indexes: Path, encoder) -> Index:
    """The index of `root` for this model, up to date."""
    folder = indexes / f"{root.relative_to(indexes.parent / 'trees').parts[0]}-{encoder.fingerprint.replace(':', '-')[:24]}"
    index = Index.open(root, folder=folder, encoder=encoder)
    index.update(encoder)
    return index


def measured_cold(root: Path, encoder, asked: list[dict]) -> dict[str, float]:
    """NDCG@10 of an index that is read and not encoded, by the most chunks that a query has encoded."""
    found = {}
    for name, most in COLD.items():
        with tempfile.TemporaryDirectory() as folder, patch.object(partial, "_MOST", most), patch.object(Index, "_encode"):
            index = Index.open(root, folder=Path(folder) / "index", encoder=encoder)
            index.update(encoder)
            found[name] = round(mean_ndcg(index, encoder, asked, DENSE_WEIGHT, Rules(), seconds=60.0), 4)
    return found


def mean_ndcg(index: Index, encoder, queries: list[dict], dense_weight: float, rules: Rules, **options) -> float:
    """Mean of NDCG@10 over the queries of a repository."""
    found = []
    for query in queries:
        hits = station.search(index, encoder, query["query"], top=TOP, dense_weight=dense_weight, rules=rules, **options)
        asked = query["relevant"] + query["secondary"]
        targets = [target if isinstance(target, dict) else {"path": target} for target in asked]
        found.append(ndcg(hits, targets))
    return statistics.mean(found)


def ndcg(hits: list, targets: list[dict]) -> float:
    """NDCG@10 of one query."""
    ranks = [next((rank for rank, hit in enumerate(hits, 1) if answers(hit.chunk, target)), None) for target in targets]
    gained = sum(1 / math.log2(rank + 1) for rank in ranks if rank)
    return gained / sum(1 / math.log2(rank + 1) for rank in range(1, min(TOP, len(targets)) + 1))


def answers(chunk, target: dict) -> bool:
    """Whether a chunk, its path below the searched root, lies in a target, its path below the repository."""
    path, wanted = f"/{chunk.path}", f"/{target['path']}"
    if not (wanted.endswith(path) or path.endswith(wanted)):
        return False
    return "start_line" not in target or (chunk.start_line <= target["end_line"] and target["start_line"] <= chunk.end_line)


def summary(repositories: dict, systems: list[str]) -> dict:
    """Means over repositories of each system, and of each that was published for all of them."""
    found = {name: round(statistics.mean(one[name] for one in repositories.values()), 4) for name in systems}
    published = set.intersection(*(set(one["published"]) for one in repositories.values()))
    return found | {
        f"{name}, published": round(statistics.mean(one["published"][name] for one in repositories.values()), 4)
        for name in sorted(published)
    }


if __name__ == "__main__":
    main()
