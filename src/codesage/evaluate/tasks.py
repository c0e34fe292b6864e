"""Evaluation tasks: queries, candidates and answers for retrieval; code and labels for classification.

In: a corpus or a benchmark folder. Out: RetrievalTask or ClassificationTask. Benchmarks are read in place, never copied.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codesage.corpus.read import read_pairs
from codesage.errors import CodesageError
from codesage.words import split_words


@dataclass(frozen=True, slots=True)
class RetrievalTask:
    """`relevant[q]` is the row in `candidates` that answers `queries[q]`. `query_kind` is "text" or "code".

    `languages`: of the queries and of the candidates, if code is searched with code in another language.
    """

    name: str
    queries: list[str]
    candidates: list[str]
    relevant: list[int]
    query_kind: str = "text"
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassificationTask:
    """Pieces of code with one label each."""

    name: str
    texts: list[str]
    labels: list[str]


def held_out_pairs(corpus: Path | str, *, limit: int = 1000, seed: int = 0) -> RetrievalTask:
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
    code = list(_rows(folder / "codebase.jsonl", "code_id", "code"))
    queries = list(_rows(folder / "queries.jsonl", "query", "code_id"))
    row_of = {row["code_id"]: i for i, row in enumerate(code)}
    missing = [row["code_id"] for row in queries if row["code_id"] not in row_of]
    if missing:
        raise CodesageError(f"{folder}/queries.jsonl refers to code {missing[0]}, which codebase.jsonl lacks")
    return RetrievalTask(
        "CoSQA", [row["query"] for row in queries], [row["code"] for row in code],
        [row_of[row["code_id"]] for row in queries],
    )  # fmt: skip


def mbxp(folder: Path | str, query_language: str, code_language: str) -> RetrievalTask:
    """Search code in one language with the same task's code in another (MBXP). The entry point's name is masked in both.

    The languages share the translated name, so unmasked scores would measure name matching.
    """
    folder = Path(folder)
    sides = [
        {row["task"]: _masked(row["code"], row["entry_point"]) for row in _rows(folder / f"{language}.jsonl", "task",
                                                                                "entry_point", "code")}
        for language in (query_language, code_language)
    ]  # fmt: skip
    candidates = sorted(sides[1])
    shared = [task for task in sorted(sides[0]) if task in sides[1]]
    row_of = {task: row for row, task in enumerate(candidates)}
    return RetrievalTask(
        f"MBXP {query_language} to {code_language}", [sides[0][task] for task in shared],
        [sides[1][task] for task in candidates], [row_of[task] for task in shared], "code", (query_language, code_language),
    )  # fmt: skip


def mbxp_across(folder: Path | str) -> list[RetrievalTask]:
    """`mbxp` for all ordered pairs of languages in `folder`. CodesageError when it has fewer than two languages."""
    languages = sorted(file.stem for file in Path(folder).glob("*.jsonl"))
    if len(languages) < 2:
        raise CodesageError(f"{folder} holds {len(languages)} languages as .jsonl, expected MBXP in two or more")
    return [mbxp(folder, one, other) for one in languages for other in languages if one != other]


def java_csharp(folder: Path | str) -> list[RetrievalTask]:
    """Search C# ports with Java code, and the reverse (CodeXGLUE code-to-code-trans): two tasks."""
    rows = list(_rows(Path(folder) / "valid.jsonl", "java", "csharp"))
    sides = {language: [row[language] for row in rows] for language in ("java", "csharp")}
    own = list(range(len(rows)))
    return [
        RetrievalTask(f"{one} to {other}", sides[one], sides[other], own, "code", (one, other))
        for one, other in (("java", "csharp"), ("csharp", "java"))
    ]


def codecomplex(folder: Path | str) -> ClassificationTask:
    """CodeComplex: programs in Java and Python, seven classes of complexity, evaluated over five folds."""
    rows = list(_rows(Path(folder) / "test.jsonl", "code", "label"))
    return ClassificationTask("CodeComplex", [row["code"] for row in rows], [str(row["label"]) for row in rows])


RETRIEVAL: dict[str, tuple[str, Callable[[Path], list[RetrievalTask]]]] = {  # by folder: title, loader
    "cosqa": ("CoSQA", lambda folder: [cosqa(folder)]),
    "mbxp": ("MBXP, names masked", mbxp_across),
    "java-csharp": ("Java and C#", java_csharp),
}
CLASSIFICATION: dict[str, tuple[str, Callable[[Path], ClassificationTask]]] = {"codecomplex": ("CodeComplex", codecomplex)}


def _masked(code: str, name: str) -> str:
    words = split_words(name)
    spelled = "[_]?".join(re.escape(word) for word in words)
    return re.sub(rf"(?<![A-Za-z0-9]){spelled}(?![A-Za-z0-9])", "f", code, flags=re.IGNORECASE) if words else code


def _rows(file: Path, *needed: str) -> Iterator[dict]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise CodesageError(f"{file} cannot be read ({error.strerror}): expected JSON lines with "
                            f"{', '.join(needed)}") from None  # fmt: skip
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            if any(field not in row for field in needed):
                raise ValueError(f"no {', '.join(f for f in needed if f not in row)}")
        except (ValueError, TypeError) as error:
            raise CodesageError(f"{file}:{number}: {error}: expected a JSON object with {', '.join(needed)}") from None
        yield row
