"""Tasks from a corpus and from small benchmarks in plain JSON lines.

In: a corpus or a benchmark folder. Out: tasks. Benchmarks are read in place, never copied.
"""

import re
from pathlib import Path

import numpy as np

from codesage.classify.data import REPEATED, codes, labels_of, repeats
from codesage.classify.parquet import name_of
from codesage.corpus.read import read_pairs
from codesage.errors import CodesageError
from codesage.evaluate.rows import all_held, answered, held, in_all, naming, place, read_rows, unique
from codesage.evaluate.tasks import SEED, ClassificationTask, RetrievalTask
from codesage.words import split_words


def held_out_pairs(corpus: Path | str, *, limit: int = 1000, seed: int = SEED) -> RetrievalTask:
    """Search body-only code by docstring, over `limit` functions of held-out packages with distinct texts and bodies.

    CodesageError when the corpus has no held-out pairs.
    """
    texts, bodies, chosen = set(), set(), []
    pairs = list(read_pairs(corpus, held_out=True, kinds=("function",)))
    for index in np.random.default_rng(seed).permutation(len(pairs)):
        pair = pairs[index]
        if pair.text not in texts and pair.bare_body not in bodies:
            texts.add(pair.text)
            bodies.add(pair.bare_body)
            chosen.append(pair)
    if not chosen:
        raise CodesageError(f"{corpus} holds no held-out pairs: build it with --held-out PACKAGE")
    chosen = chosen[:limit]
    return RetrievalTask("held-out pairs", [p.text for p in chosen], [p.bare_body for p in chosen], list(range(len(chosen))))


def cosqa(folder: Path | str) -> RetrievalTask:
    """CoSQA (Python, web queries): the queries and code base in `folder`. CodesageError when they are missing."""
    folder = Path(folder)
    codebase, file = held(folder, "codebase.jsonl"), held(folder, "queries.jsonl")
    code = list(read_rows(codebase, "code_id", "code"))
    queries = list(read_rows(file, "query", "code_id"))
    row_of = unique(code, "code_id", codebase)
    if in_all("query_id", (file, queries)):
        unique(queries, "query_id", file)
    answers = answered([row["code_id"] for row in queries], row_of, file)
    return RetrievalTask("CoSQA", [row["query"] for row in queries], [row["code"] for row in code], answers)


def mbxp_across(folder: Path | str) -> list[RetrievalTask]:
    """Search code in one language with the same task's code in another (MBXP): all ordered pairs of languages in `folder`.

    The entry point's name is masked in both. The languages share the translated name, so unmasked scores would measure name
    matching. CodesageError when the folder has fewer than two languages.
    """
    languages = {name_of(file): _masked_code(file) for file in all_held(Path(folder), ".jsonl")}
    if len(languages) < 2:
        raise CodesageError(f"{folder} holds {len(languages)} languages as .jsonl or .parquet, expected MBXP in two or more")
    return [_between(one, other) for one in languages.items() for other in languages.items() if one[0] != other[0]]


def _masked_code(file: Path) -> dict[str, str]:
    """The code of each task of a language, its entry point called f."""
    rows = list(read_rows(file, "task", "entry_point", "code"))
    row_of = unique(rows, "task", file)
    return {task: _masked(rows[row]["code"], rows[row]["entry_point"]) for task, row in row_of.items()}


def _between(query: tuple[str, dict[str, str]], code: tuple[str, dict[str, str]]) -> RetrievalTask:
    """The task of two languages, each given with the code of its tasks."""
    (query_language, queries), (code_language, candidates) = query, code
    names = sorted(candidates)
    shared = [task for task in sorted(queries) if task in candidates]
    row_of = {task: row for row, task in enumerate(names)}
    return RetrievalTask(
        f"MBXP {query_language} to {code_language}",
        [queries[task] for task in shared],
        [candidates[task] for task in names],
        [row_of[task] for task in shared],
        "code",
        (query_language, code_language),
        unanswered=len(queries) - len(shared),
    )


def java_csharp(folder: Path | str) -> list[RetrievalTask]:
    """Search C# ports with Java code, and the reverse (CodeXGLUE code-to-code-trans): two tasks."""
    rows = list(read_rows(held(Path(folder), "valid.jsonl"), "java", "csharp"))
    sides = {language: [row[language] for row in rows] for language in ("java", "csharp")}
    own = list(range(len(rows)))
    return [
        RetrievalTask(f"{one} to {other}", sides[one], sides[other], own, "code", (one, other))
        for one, other in (("java", "csharp"), ("csharp", "java"))
    ]


def codecomplex(folder: Path | str) -> ClassificationTask:
    """CodeComplex: programs with one of seven classes of complexity, evaluated over five folds.

    `test.jsonl` with code and label (Java and Python), or the authors' `data.jsonl` with src and complexity (Java).
    """
    file, code, label = held(Path(folder), "test.jsonl"), "code", "label"
    if not file.is_file() and (own := held(Path(folder), "data.jsonl")).is_file():
        file, code, label = own, "src", "complexity"
    rows = list(read_rows(file, code, label))
    texts = [row[code] for row in rows]
    labels = labels_of([(place(file, number), row[label]) for number, row in enumerate(rows)])
    with naming(file):
        return ClassificationTask("CodeComplex", texts, labels, counted=repeats(codes(texts), labels, REPEATED))


def _masked(code: str, name: str) -> str:
    words = split_words(name)
    spelled = "[_]?".join(re.escape(word) for word in words)
    return re.sub(rf"(?<![A-Za-z0-9]){spelled}(?![A-Za-z0-9])", "f", code, flags=re.IGNORECASE) if words else code
