"""The types of evaluation tasks: retrieval, groups, clones, classification, and search in repositories.

In: nothing. Out: the types that the loaders (local.py, standard.py, packages.py, repositories.py) fill and that stage.py and
searching.py measure. A task without items raises a CodesageError when it is created, since there would be nothing to measure.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path

from codesage.classify.data import codes
from codesage.classify.folds import FOLDS, check
from codesage.errors import CodesageError

SEED = 0  # of every draw: folds, samples of queries and rows, resamples, random weights
_PARTS = {"train": "training", "valid": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class RetrievalTask:
    """`relevant[q]` is the row in `candidates` that answers `queries[q]`. `query_kind` is "text" or "code".

    `languages`: of the queries and of the candidates, if code is searched with code in another language.
    """

    name: str
    queries: Sequence[str]
    candidates: Sequence[str]
    relevant: Sequence[int]
    query_kind: str = "text"
    languages: tuple[str, ...] = ()
    unanswered: int = 0  # queries that are left out since no candidate answers them
    left_out: tuple[str, ...] = ()  # languages in the folder of the data set that are not measured

    def __post_init__(self) -> None:
        _require(self.name, queries=self.queries, candidates=self.candidates)

    def digest(self) -> str:
        """Of the queries, the candidates and the answers."""
        return _digest(self.queries, self.candidates, self.relevant, [self.query_kind, *self.languages])


@dataclass(frozen=True, slots=True)
class GroupTask:
    """Code to code: the answers to a query are ALL candidates with its label. Measured by mean average precision.

    `identities`: what tells items apart. A candidate with the identity of the query is the query itself and is skipped.
    `at_r`: count the precision among the first R ranks only, where R is the number of answers (MAP@R, POJ-104).
    """

    name: str
    queries: Sequence[str]
    query_labels: Sequence[str]
    query_identities: Sequence[str]
    candidates: Sequence[str]
    candidate_labels: Sequence[str]
    candidate_identities: Sequence[str]
    languages: tuple[str, str]
    at_r: bool = False
    left_out: tuple[str, ...] = ()  # languages in the folder of the data set that are not measured

    def __post_init__(self) -> None:
        _require(self.name, queries=self.queries, candidates=self.candidates)

    def digest(self) -> str:
        """Of the queries, the candidates and the answers."""
        queries = (self.queries, self.query_labels, self.query_identities)
        return _digest(
            *queries, self.candidates, self.candidate_labels, self.candidate_identities, [self.at_r, *self.languages]
        )


@dataclass(frozen=True, slots=True)
class CloneTask:
    """Pairs of code that do the same, or not: two rows in `texts`. The threshold comes from the validation pairs.

    `counted`: what is unusual in the data set, such as repeated pairs, for the report.
    """

    name: str
    texts: Sequence[str]
    valid: Sequence[tuple[int, int, bool]]
    test: Sequence[tuple[int, int, bool]]
    counted: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(self.name, **{"validation pairs": self.valid, "test pairs": self.test})

    def digest(self) -> str:
        """Of the texts and the pairs."""
        return _digest(self.texts, self.valid, self.test)


@dataclass(frozen=True, slots=True)
class ClassificationTask:
    """Pieces of code with one label each.

    `parts`: "train", "valid" or "test" for each piece, if the data set is split; without parts, figures are of five folds.
    `counted`: what was left out of the data set or is unusual in it, for the report. `epochs`: in which the paper trains a
    classifier, if not in as many as usual.
    """

    name: str
    texts: Sequence[str]
    labels: Sequence[str]
    parts: Sequence[str] = ()
    counted: dict[str, int] = field(default_factory=dict)
    epochs: int | None = None

    def __post_init__(self) -> None:
        parts = {f"rows for {part}": [one for one in self.parts if one == part] for part in ("train", "test") if self.parts}
        _require(self.name, rows=self.texts, **parts)
        try:
            if self.parts:
                learnt = [label for label, part in zip(self.labels, self.parts, strict=True) if part == "train"]
                check(learnt, 0, (), rows="rows for training")
            else:
                check(self.labels, FOLDS, self.codes)
        except CodesageError as error:
            raise CodesageError(f"{self.name}: {error}") from None

    @property
    def codes(self) -> list[int]:
        """The number of the code of each text, as in `classify.data.codes`."""
        return codes(self.texts)

    def digest(self) -> str:
        """Of the texts, their labels and their parts."""
        return _digest(self.texts, self.labels, self.parts)

    def unlearnt(self) -> dict[str, int]:
        """How many labels of the other parts the training part lacks; nothing where it lacks none."""
        labels_of = {
            part: {label for label, own in zip(self.labels, self.parts, strict=False) if own == part} for part in _PARTS
        }
        lacking = {part: len(labels_of[part] - labels_of["train"]) for part in _PARTS}
        return {f"labels of the {_PARTS[part]} part without training": number for part, number in lacking.items() if number}


@dataclass(frozen=True, slots=True)
class Target:
    """What answers a question: a file by its path below the repository, or these lines of it (the last included)."""

    path: str
    lines: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A query about a repository. All targets count alike."""

    text: str
    targets: Sequence[Target]


@dataclass(frozen=True, slots=True)
class Repository:
    """A public repository of git at one revision, of which the folder `root` is searched. `published`: figures by system."""

    name: str
    github: str  # owner/name
    language: str
    root: str
    revision: str  # the whole hash of a commit
    questions: Sequence[Question]
    published: dict[str, float] = field(default_factory=dict)

    def digest(self) -> str:
        """Of the questions, their targets, and the revision that is searched."""
        return _digest([self.root, self.revision], map(astuple, self.questions))


@dataclass(frozen=True, slots=True)
class RepositoryTask:
    """Search in whole repositories, measured by NDCG@10.

    `folders`: of each repository that is there, by name, the folder to search. `missing`: why each of the others is not.
    """

    name: str
    repositories: Sequence[Repository]
    folders: dict[str, Path] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(self.name, repositories=self.repositories)

    @property
    def searched(self) -> list[Repository]:
        """The repositories that are there."""
        return [one for one in self.repositories if one.name in self.folders]

    @property
    def left_out(self) -> str:
        """A line about the repositories that are missing."""
        here, queries = self.searched, sum(len(one.questions) for one in self.repositories)
        return (
            f"{self.name}: {len(here):,} of {len(self.repositories):,} repositories with "
            f"{sum(len(one.questions) for one in here):,} of {queries:,} queries; not there: {', '.join(self.missing)}"
        )


def _digest(*columns: Iterable) -> str:
    """16 hex digits that differ where a value or its place does."""
    hashed = hashlib.sha256()
    for column in columns:
        for value in column:
            hashed.update(json.dumps(value, default=str).encode() + b"\n")
        hashed.update(b"\n")
    return hashed.hexdigest()[:16]


def _require(name: str, **items: Sequence) -> None:
    if not all(map(len, items.values())):
        counts = ", ".join(f"{len(of_kind):,} {kind}" for kind, of_kind in items.items())
        raise CodesageError(f"{name} has {counts}: expected one or more of each")


Task = RetrievalTask | GroupTask | CloneTask | ClassificationTask | RepositoryTask
