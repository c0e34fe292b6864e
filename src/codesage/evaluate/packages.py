"""Search within whole held-out packages of a corpus: documentation finds its function among ALL functions of the package.

In: a corpus. Out: one task for each held-out package. The candidates are the definitions of all its functions, tests included,
without their documentation; equal ones count once. The queries are the texts of its pairs.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from codesage.corpus.read import read_documents, read_pairs
from codesage.errors import CodesageError
from codesage.evaluate.tasks import SEED, RetrievalTask
from codesage.records import Document
from codesage.syntax import ParseRefused, functions, parse

QUERIES = 200  # of a package, at most


def held_out_packages(corpus: Path | str, *, queries: int = QUERIES, seed: int = SEED) -> list[RetrievalTask]:
    """A task for each held-out package, with `queries` of its distinct texts at most, drawn by chance.

    Queries whose function is among no candidates are counted as `unanswered`, as where a text describes several functions.
    CodesageError when the corpus keeps no held-out files or pairs.
    """
    candidates: dict[str, dict[str, int]] = defaultdict(dict)  # by package: the row of each definition
    for document in read_documents(corpus, held_out=True):
        rows = candidates[document.package]
        for code in _definitions(document):
            rows.setdefault(code, len(rows))
    answers: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))  # by package and text: the definitions
    for pair in read_pairs(corpus, held_out=True, kinds=("function",)):
        answers[pair.package][pair.text].add(pair.code)
    tasks = [_task(package, answers[package], rows, queries, seed) for package, rows in candidates.items() if answers[package]]
    if not tasks:
        raise CodesageError(f"{corpus} holds no held-out pairs: build it with --held-out PACKAGE")
    return tasks


def _definitions(document: Document) -> Iterator[str]:
    try:
        tree = parse(document.text, document.language, tsx=document.path.endswith(".tsx"))
    except ParseRefused:  # it has no pairs either
        return
    yield from (one.signature + one.body for one in functions(tree) if one.kind == "function")


def _task(package: str, answers: dict[str, set[str]], row_of: dict[str, int], queries: int, seed: int) -> RetrievalTask:
    answered = [text for text, codes in answers.items() if len(codes) == 1 and codes <= row_of.keys()]
    order = np.random.default_rng(seed).permutation(len(answered))[:queries]
    chosen = [answered[index] for index in order]
    relevant = [row_of[next(iter(answers[text]))] for text in chosen]
    return RetrievalTask(package, chosen, list(row_of), relevant, unanswered=len(answers) - len(answered))
