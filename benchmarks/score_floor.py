"""How many real queries keep their answers, and how much nonsense gets none, with the floor of search (search.floor).

    python benchmarks/score_floor.py DATA --cache DIR [--model default] [--only REPO]... [--out FILE]

Real queries are those of the public benchmark of repositories (benchmarks/repository_search.py, whose cache may be given).
Nonsense is random letters, neighbouring keys of a keyboard, questions from outside programming, and random words of everyday
things; a seed makes it the same in each run. One word that is a part of a name in the repository is answered by design.
"""

import argparse
import json
import random
from collections import Counter
from datetime import date
from pathlib import Path

import codesage
from codesage.evaluate.reports import environment
from codesage.evaluate.searching import indexed
from codesage.search import floor
from repository_search import task_of

KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
DOMAINS = (
    "recipe for chocolate cake with almonds",
    "how to prune apple trees in winter",
    "best goalkeeper of the 1990 world cup",
    "symptoms of iron deficiency in cats",
    "cheap flights from Oslo to Lisbon",
    "history of the Byzantine empire",
    "how long to boil eggs",
    "violin concerto in D minor",
    "why do leaves turn red in autumn",
    "knitting pattern for baby socks",
    "mortgage rates for first time buyers",
    "where do penguins sleep",
    "cure for hiccups",
    "paint a watercolour sunset",
    "how deep is the Mariana trench",
    "average rainfall in the Amazon",
    "yoga poses for lower back pain",
    "when was Mozart born",
    "how to remove red wine stains from carpet",
    "marathon training plan for beginners",
)
THINGS = (
    "giraffe teapot volcano marmalade saxophone umbrella glacier cinnamon trampoline walrus cathedral lavender hammock tornado "
    "pancake orchid bagpipe lighthouse mustard kangaroo violet curtain meadow pepper dolphin"
).split()
EACH = 40  # queries of each kind that is made up


def main() -> None:
    """Measure, print a line for each repository, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--model", default="default", help="a model folder, or the bundled one")
    parser.add_argument("--only", action="append", default=[], help="a repository by its name; may be given again")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    encoder = codesage.load(None if arguments.model == "default" else arguments.model)
    task = task_of(arguments.data, arguments.cache, arguments.only)
    repositories, refused = {}, []
    for repository in task.searched:
        name, queries = repository.name, {"real": [question.text for question in repository.questions], **nonsense()}
        with indexed(task.folders[name], arguments.cache / "indexes", encoder) as index:
            repositories[name], without = measured(index, encoder, queries)
        refused += [f"{name}: {query}" for query in without["real"]]
        print(name, repositories[name], flush=True)
    total = Counter()
    for one in repositories.values():
        for kind, (answered, count) in one.items():
            total.update({f"{kind}, answered": answered, f"{kind}, asked": count})
    record = {
        "date": date.today().isoformat(),
        **environment(),
        "model": encoder.fingerprint,
        "in all": dict(total),
        "real queries without an answer": refused,
        "repositories": repositories,
    }
    print(json.dumps({"in all": record["in all"], "real queries without an answer": refused}, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def nonsense() -> dict[str, list[str]]:
    """Queries by kind that no repository answers."""
    chance = random.Random(1)

    def letters() -> str:
        return "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(4, 10)))

    def keys() -> str:
        row, start = chance.choice(KEYS), chance.randint(0, 5)
        return (row[start:] + row)[: chance.randint(4, 9)]

    def several(one, most: int) -> list[str]:
        return [" ".join(one() for _ in range(chance.randint(1, most))) for _ in range(EACH)]

    words = [" ".join(chance.sample(THINGS, chance.randint(1, 4))) for _ in range(EACH)]
    return {"letters": several(letters, 4), "keys": several(keys, 3), "other domains": list(DOMAINS), "things": words}


def measured(index, encoder, queries: dict[str, list[str]]) -> tuple[dict, dict[str, list[str]]]:
    """For each kind how many queries are answered and how many there are; and those that are not."""
    counts, without = {}, {}
    with index.snapshot():
        view = index.view()
        for kind, some in queries.items():
            vectors = encoder.encode(some, kind="text")
            without[kind] = [
                query
                for query, vector_D in zip(some, vectors, strict=True)
                if not floor.passes(floor.InIndex(index, view), encoder, query, vector_D)
            ]
            counts[kind] = (len(some) - len(without[kind]), len(some))
    return counts, without


if __name__ == "__main__":
    main()
