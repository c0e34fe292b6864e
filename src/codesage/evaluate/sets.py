"""The data sets by name: their folders, titles and loaders.

In: a corpus, and a folder with one folder per data set. A data set that is named and not in the folder comes from the cache, or
from its hub. Out: tasks by title, in the order of the paper's tables.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codesage.errors import CodesageError
from codesage.evaluate import hubs, local, packages, repositories, standard
from codesage.evaluate.rows import naming
from codesage.evaluate.tasks import ClassificationTask, CloneTask, GroupTask, RepositoryTask, RetrievalTask, Task
from codesage.languages import LANGUAGES


@dataclass(frozen=True, slots=True)
class DataSet:
    """`files`: what its folder holds, for messages. `slow`: measured only when it is named.

    `languages`: in which it is published, if its figure is a mean over languages.
    """

    title: str
    load: Callable[[Path], Sequence[Task]]
    files: str
    slow: bool = False
    languages: tuple[str, ...] = ()


PACKAGES = "packages"
_EMPTY = "rows without code"
SETS = {
    "cosqa": DataSet("CoSQA", lambda folder: [_cosqa(folder)], "code_idx_map.txt and cosqa-retrieval-test-500.json"),
    "advtest": DataSet("AdvTest", lambda folder: [standard.advtest(folder)], "test.jsonl"),
    "codesearchnet": DataSet(
        "CodeSearchNet",
        standard.codesearchnet,
        "LANGUAGE/test.jsonl and LANGUAGE/codebase.jsonl",
        languages=standard.SEARCHNET_LANGUAGES,
    ),
    "mbxp": DataSet("MBXP, names masked", local.mbxp_across, "LANGUAGE.jsonl"),
    "java-csharp": DataSet("Java and C#", local.java_csharp, "valid.jsonl"),
    "codenet": DataSet("CodeNet", standard.codenet, "LANGUAGE_with_func.jsonl", languages=tuple(LANGUAGES)),
    "poj104": DataSet("POJ-104", standard.poj104, "test.jsonl"),
    "bigclonebench": DataSet(
        "BigCloneBench", lambda folder: [standard.bigclonebench(folder)], "data.jsonl, valid.txt and test.txt"
    ),
    "codecomplex": DataSet("CodeComplex", lambda folder: [local.codecomplex(folder)], "test.jsonl or data.jsonl"),
    "defect": DataSet("Defect", lambda folder: [standard.defect(folder)], "train.jsonl, valid.jsonl and test.jsonl"),
    "runtime-error": DataSet(
        "Runtime error",
        lambda folder: [standard.runtime_error(folder)],
        "train_balanced.json, valid_balanced.json and test_balanced.json",
    ),
    "repository-search": DataSet("repository search", repositories.read, "repositories.jsonl and queries.jsonl", slow=True),
}


def _cosqa(folder: Path) -> RetrievalTask:
    return standard.cosqa_search(folder) if (folder / "code_idx_map.txt").is_file() else local.cosqa(folder)


def read(
    corpus: Path | None,
    folder: Path | None,
    wanted: Sequence[str],
    *,
    say: Callable[[str], None],
    download: bool = False,
    revisions: dict[str, dict[str, str]] | None = None,
) -> dict[str, Sequence[Task]]:
    """The wanted tasks by title; default: all in `folder` but slow ones. `say` gets a line about what is missing or fetched.

    `download`: fetch wanted data sets that are neither in `folder` nor in the cache, and repositories that no clone there
    has. `revisions` gets, by title, the commits of the files that a hub gave, as in `hubs.revisions`. CodesageError when a
    name is unknown, a data set that was asked for is missing, damaged or cannot be fetched, none of the repositories is
    there, or there is no task.
    """
    if unknown := [name for name in wanted if name not in (*SETS, PACKAGES)]:
        raise CodesageError(f"unknown task {unknown[0]!r}: expected {', '.join(SETS)} or {PACKAGES}")
    if download and not wanted:
        fetched = ", ".join([*hubs.PUBLISHED, "repository-search"])
        raise CodesageError(f"--download fetches the data sets of --task: name one or more of {fetched}")
    tasks = _held_out(corpus, wanted)
    if folder is not None and not folder.is_dir():
        say(f"{folder} {'is a file' if folder.exists() else 'does not exist'}: its tasks are left out")
        folder = None
    for name, one in SETS.items():
        here = folder is not None and (folder / name).is_dir()
        if here and one.slow and not wanted:
            say(f"{name} takes minutes for each model: it is left out unless --task {name} names it")
        elif name in wanted or (here and not wanted):
            place = folder / name if folder is not None and here else _elsewhere(name, folder, say, download)
            with naming(place):
                tasks_of_set = _answerable(one.load(place))
            if revisions is not None and (known := hubs.revisions(place)):
                revisions[one.title] = known
            tasks[one.title] = [_with_folders(task, download=download, say=say) for task in tasks_of_set]
    if not tasks:
        what = "" if folder is None else f": {folder} holds no folder of a data set ({', '.join(SETS)})"
        raise CodesageError(f"no task to evaluate{what}: give --corpus with held-out packages, or --benchmarks")
    return tasks


def _held_out(corpus: Path | None, wanted: Sequence[str]) -> dict[str, Sequence[Task]]:
    """The tasks of a corpus."""
    tasks: dict[str, Sequence[Task]] = {}
    if corpus is not None:
        tasks["held-out pairs"] = [local.held_out_pairs(corpus)]
    if PACKAGES in wanted:
        if corpus is None:
            raise CodesageError(f"--task {PACKAGES} searches the held-out packages of a corpus: give --corpus")
        tasks["held-out packages"] = packages.held_out_packages(corpus)
    return tasks


def _answerable(tasks: Sequence[Task]) -> Sequence[Task]:
    """`tasks`. CodesageError when one has queries, but none that a candidate answers."""
    for task in tasks:
        if isinstance(task, GroupTask) and _unanswered(task) == len(task.queries):
            raise CodesageError(f"{task.name}: no query has an answer, since no problem has two programs there")
    return tasks


def _with_folders(task: Task, **choices: Any) -> Task:
    """`task`, its repositories laid out if it has some."""
    if isinstance(task, RepositoryTask):
        return repositories.laid_out(task, repositories.repositories_folder(), **choices)
    return task


def _elsewhere(name: str, folder: Path | None, say: Callable[[str], None], download: bool) -> Path:
    """The folder of a data set that --benchmarks lacks: from the cache, or fetched."""
    folder_in_cache = hubs.cached(name)
    if folder_in_cache is not None:
        return folder_in_cache
    by_hand = f"put {SETS[name].files} into {folder or 'FOLDER'}/{name} and give --benchmarks {folder or 'FOLDER'}"
    if not download:
        raise CodesageError(f"{name} is not there: {by_hand}" + (", or --download" if name in hubs.PUBLISHED else ""))
    try:
        return hubs.fetched(name, say=say)
    except CodesageError as error:
        raise CodesageError(f"{error}; without a network, {by_hand}") from None


def as_published(tasks: dict[str, Sequence[Task]]) -> dict[str, Sequence[Task]]:
    """`tasks` of search with one space between the words of each text and of each code, as the paper prepares them."""
    return {title: [_spaced(task) for task in group] for title, group in tasks.items()}


def _spaced(task: Task) -> Task:
    if not isinstance(task, RetrievalTask):  # the others are in that form, or are not in the paper
        return task
    queries, candidates = ([" ".join(text.split()) for text in side] for side in (task.queries, task.candidates))
    return replace(task, queries=queries, candidates=candidates)


def sizes(tasks: dict[str, Sequence[Task]]) -> dict[str, dict[str, int]]:
    """How large each task is, and what was left out of it, for the report."""
    return {title: _size(title, group) for title, group in tasks.items()}


def _size(title: str, group: Sequence[Task]) -> dict[str, int]:
    first = group[0]
    if isinstance(first, CloneTask):
        sizes = {"texts": len(first.texts), "validation pairs": len(first.valid), "test pairs": len(first.test)}
        return sizes | _counted(first)
    if isinstance(first, ClassificationTask):
        return {"rows": len(first.texts), "labels": len(set(first.labels)), **_counted(first)}
    if isinstance(first, RepositoryTask):
        return {
            "repositories": len(first.searched),
            "queries": sum(len(one.questions) for one in first.searched),
            "repositories not there": len(first.missing),
            "queries about these": sum(len(one.questions) for one in first.repositories if one.name in first.missing),
        }
    searched = [one for one in group if isinstance(one, RetrievalTask | GroupTask)]
    unanswered = sum(map(_unanswered, searched))
    listed = sum(len(one.queries) for one in searched if isinstance(one, GroupTask))
    sizes = {
        "tasks": len(group),
        "queries": listed - unanswered if isinstance(first, GroupTask) else sum(len(one.queries) for one in searched),
        "candidates": sum(len(one.candidates) for one in searched),
    }
    sizes |= {"queries without an answer": unanswered} if unanswered or isinstance(first, GroupTask) else {}
    return sizes | _unusual(searched) | {what: len(names) for what, names in _other_languages(title, searched).items()}


def _counted(task: CloneTask | ClassificationTask) -> dict[str, int]:
    """What is left out of a task or is unusual in its data: for the sizes and the notes alike."""
    empty = sum(not text.strip() for text in task.texts)
    return (task.unlearnt() if isinstance(task, ClassificationTask) else {}) | task.counted | _positive({_EMPTY: empty})


def _unusual(searched: Sequence[RetrievalTask | GroupTask]) -> dict[str, int]:
    """How many texts are empty, and how many candidates rank behind an equal one."""
    counts = {
        "queries without text": sum(not text.strip() for one in searched for text in one.queries),
        "candidates without text": sum(not text.strip() for one in searched for text in one.candidates),
        "candidates with the text of an earlier one": sum(len(one.candidates) - len(set(one.candidates)) for one in searched),
    }
    return _positive(counts)


def _other_languages(title: str, searched: Sequence[RetrievalTask | GroupTask]) -> dict[str, tuple[str, ...]]:
    """Languages of the published data set that are not there, and those in its folder that it does not have; {} if none."""
    published = next((one.languages for one in SETS.values() if one.title == title), ())
    here = {name for one in searched for name in (one.languages or (one.name,))}
    others = {
        "published languages that are not there": tuple(name for name in published if name not in here),
        "other languages, left out": searched[0].left_out,
    }
    return {what: names for what, names in others.items() if names}


def _positive(counts: dict[str, int]) -> dict[str, int]:
    return {what: count for what, count in counts.items() if count}


def notes(title: str, group: Sequence[Task]) -> list[str]:
    """Lines for the printed report: what is left out of a task or is unusual in its data."""
    first, size = group[0], _size(title, group)
    if isinstance(first, RepositoryTask):
        return [first.left_out] if first.missing else []
    if isinstance(first, CloneTask | ClassificationTask):
        return [f"{title}: {what}: {count:,}" for what, count in _counted(first).items()]
    unanswered = size.get("queries without an answer", 0)
    listed = size["queries"] + unanswered
    lines = [f"{title}: {unanswered:,} of {listed:,} queries have no answer and are left out"] if unanswered else []
    searched = [one for one in group if isinstance(one, RetrievalTask | GroupTask)]
    lines += [f"{title}: {what}: {count:,}" for what, count in _unusual(searched).items()]
    return lines + [
        f"{title}: {what}: {len(names)} ({', '.join(names)})" for what, names in _other_languages(title, searched).items()
    ]


def _unanswered(task: RetrievalTask | GroupTask) -> int:
    """Queries that no candidate answers."""
    if isinstance(task, RetrievalTask):
        return task.unanswered
    identities: dict[str, set[str]] = {}
    for label, identity in zip(task.candidate_labels, task.candidate_identities, strict=True):
        identities.setdefault(label, set()).add(identity)
    return sum(
        not identities.get(label, set()) - {identity}
        for label, identity in zip(task.query_labels, task.query_identities, strict=True)
    )
