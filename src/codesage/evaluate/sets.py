"""Data sets by name: which folder holds them, what they are called, and how they are read.

In: a corpus, and a folder with one folder per data set. Out: tasks by title, in the order of the paper's tables.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from codesage.errors import CodesageError
from codesage.evaluate import local, standard
from codesage.evaluate.tasks import ClassificationTask, CloneTask, GroupTask, RetrievalTask, Task

SETS: dict[str, tuple[str, Callable[[Path], Sequence[Task]]]] = {
    "cosqa": ("CoSQA", lambda folder: [_cosqa(folder)]),
    "advtest": ("AdvTest", lambda folder: [standard.advtest(folder)]),
    "codesearchnet": ("CodeSearchNet", standard.codesearchnet),
    "mbxp": ("MBXP, names masked", local.mbxp_across),
    "java-csharp": ("Java and C#", local.java_csharp),
    "codenet": ("CodeNet", standard.codenet),
    "poj104": ("POJ-104", standard.poj104),
    "bigclonebench": ("BigCloneBench", lambda folder: [standard.bigclonebench(folder)]),
    "codecomplex": ("CodeComplex", lambda folder: [local.codecomplex(folder)]),
    "defect": ("Defect", lambda folder: [standard.defect(folder)]),
    "runtime-error": ("Runtime error", lambda folder: [standard.runtime_error(folder)]),
}


def _cosqa(folder: Path) -> RetrievalTask:
    return standard.cosqa_search(folder) if (folder / "code_idx_map.txt").is_file() else local.cosqa(folder)


def read(
    corpus: Path | None, folder: Path | None, wanted: Sequence[str], *, say: Callable[[str], None]
) -> dict[str, Sequence[Task]]:
    """The wanted tasks by title; default: all that exist. `say` is called with a line about what is missing.

    CodesageError when a name is unknown, a data set that was asked for is missing or damaged, or there is no task.
    """
    if unknown := [name for name in wanted if name not in SETS]:
        raise CodesageError(f"unknown task {unknown[0]!r}: expected {', '.join(SETS)}")
    tasks: dict[str, Sequence[Task]] = {}
    if corpus is not None:
        tasks["held-out pairs"] = [local.held_out_pairs(corpus)]
    if folder is not None and not folder.is_dir():
        say(f"{folder} is not there: its tasks are left out")
    elif folder is not None:
        for name, (title, load) in SETS.items():
            if name in wanted or (not wanted and (folder / name).is_dir()):
                tasks[title] = load(folder / name)
    if not tasks:
        raise CodesageError("no task to evaluate: give --corpus with held-out packages, or --benchmarks")
    return tasks


def sizes(tasks: dict[str, Sequence[Task]]) -> dict[str, dict[str, int]]:
    """How large each task is, and what was left out of it, for the report."""
    return {title: _size(group) for title, group in tasks.items()}


def _size(group: Sequence[Task]) -> dict[str, int]:
    first = group[0]
    if isinstance(first, CloneTask):
        return {"texts": len(first.texts), "validation pairs": len(first.valid), "test pairs": len(first.test)}
    if isinstance(first, ClassificationTask):
        return {"rows": len(first.texts), "labels": len(set(first.labels)), **first.counted}
    searched = [one for one in group if isinstance(one, RetrievalTask | GroupTask)]
    found = {"tasks": len(group), "queries": sum(len(one.queries) for one in searched),
             "candidates": sum(len(one.candidates) for one in searched)}  # fmt: skip
    if isinstance(first, GroupTask):
        found["queries without an answer"] = sum(_unanswered(one) for one in group if isinstance(one, GroupTask))
    return found


def _unanswered(task: GroupTask) -> int:
    identities: dict[str, set[str]] = {}
    for label, identity in zip(task.candidate_labels, task.candidate_identities, strict=True):
        identities.setdefault(label, set()).add(identity)
    return sum(not identities.get(label, set()) - {identity}
               for label, identity in zip(task.query_labels, task.query_identities, strict=True))  # fmt: skip
