"""From two rankings to one: reciprocal rank fusion, then a few plain rules about names, files and kinds.

In: the best chunks by words and by vectors. Out: scores with their parts, best first. Reciprocal rank fusion (Cormack,
Clarke and Buettcher, SIGIR 2009) needs no calibration between cosine and BM25 scores; it is scaled so that the first of
both rankings has 1. Every rule has a weight in `Rules`; what each gives is measured in docs/log.md.
"""

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

from codesage.search.terms import parts_of, stem

Key = TypeVar("Key", bound=Hashable)

ASKED_SHARE = 1.3  # of its score, for a file of the kind that the query asks for
THRESHOLD = 0.8  # lowest cosine of two functions that count as doing the same (docs/log.md)
MIN_LINES = 5  # of such functions: shorter ones, such as getters, are alike everywhere
DENSE_WEIGHT = 2.0  # what the ranking by vectors counts beside full text
K = 30.0  # of the fusion: 60, its usual value, hardly tells the first from the tenth
_LATER_BEST = 3  # chunks of a file that speak for it
_STOP = {
    "an", "and", "are", "as", "at", "be", "by", "can", "do", "does", "for", "from", "get", "how", "if", "into", "is", "it",
    "in", "its", "my", "of", "on", "one", "or", "that", "the", "this", "to", "use", "used", "using", "was", "we", "what",
    "when", "where", "which", "who", "why", "with", "you", "your", "work", "works", "handled", "implemented",
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|::|->|#)[A-Za-z_$][\w$]*)*[?!]?")
_SEPARATOR = re.compile(r"\.|::|->|#")


@dataclass(frozen=True, slots=True)
class Rules:
    """The weights of the rules; 0 (1 for shares) switches one off."""

    file: float = 1.0  # a file's three best chunks, their mean
    later: float = 0.5  # share that each further chunk of a file keeps
    name: float = 1.0  # the name of what is asked for by name
    path: float = 0.5  # query words in the name of the file, and half as much in those of its folders
    part: float = 0.2  # query words in the name of the chunk
    literal: float = 2.0  # the query as it stands, in the text
    kinds: dict[str, float] = field(default_factory=lambda: dict(_KINDS))  # share that a kind of file keeps


_KINDS = {"code": 1.0, "legacy": 0.7, "example": 0.6, "test": 0.5, "generated": 0.6, "vendored": 0.5, "docs": 0.8, "data": 0.7}
_ASKED = {  # words that ask for a kind of file
    "test": {"test", "tests", "tested", "testing", "spec", "specs", "fixture", "fixtures", "mock", "benchmark"},
    "example": {"example", "examples", "sample", "demo", "tutorial"}, "generated": {"generated"},
    "vendored": {"vendor", "vendored"}, "legacy": {"legacy", "deprecated", "compat", "old"},
    "docs": {"docs", "documentation", "readme", "changelog", "guide", "license", "licence"},
    "data": {"yaml", "toml", "workflow", "dockerfile"},
}  # fmt: skip


def reciprocal_rank_fusion(
    rankings: Iterable[Sequence[Key]], *, k: float = 60.0, weights: Sequence[float] | None = None
) -> list[tuple[Key, float]]:
    """Fuse `rankings` (best first): score = sum over rankings of weight / (k + rank), rank counted from 1.

    Returns (key, score) sorted by falling score; equal scores keep the order of first appearance. A key that a
    ranking does not hold gets nothing from it.
    """
    rankings = list(rankings)
    weights = [1.0] * len(rankings) if weights is None else weights
    scores: dict[Key, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + weight / (k + rank)
    return sorted(scores.items(), key=lambda item: -item[1])


def content_words(query: str) -> list[str]:
    """The distinct stems of a query that say what it is about."""
    words = [word for word in parts_of(query) if word not in _STOP and len(word) > 1]
    return list(dict.fromkeys(map(stem, words)))


def asked_name(query: str) -> str:
    """The last part of the one name that the whole query is ("Session.get" gives "get"), or ""."""
    return _SEPARATOR.split(query.strip())[-1] if _NAME.fullmatch(query.strip()) else ""


def kinds_asked(query: str) -> set[str]:
    """The kinds of files that the words of a query ask for."""
    words = set(parts_of(query))
    return {kind for kind, asking in _ASKED.items() if words & asking}


def named(query: str, name: str, kind: str) -> float:
    """How well the name of a chunk is the one that was asked for: 1 for the same, less in another case or in part."""
    asked, own = _SEPARATOR.split(query.strip()), _SEPARATOR.split(name)
    if not name:
        return 0.0
    if own[-len(asked) :] == asked:
        return 1.0 if kind == "class" or len(asked) > 1 else 0.9
    plain_asked, plain_own = "".join(asked).lower().replace("_", ""), own[-1].lower().replace("_", "")
    if "".join(own[-len(asked) :]).lower().replace("_", "") == plain_asked:
        return 0.7
    return 0.3 if len(plain_asked) >= 4 and plain_asked in plain_own else 0.0


def words_in_path(words: Sequence[str], path: str) -> float:
    """Share of the words that the name of the file holds; those that only a folder is named by count half."""
    if not words:
        return 0.0
    file, own, stems = _stems_of_path(path)
    found = 0.0
    for word in words:
        if word in own or (len(word) >= 4 and word in file):
            found += 1
        elif word in stems:
            found += 0.5
    return found / len(words)


@lru_cache(maxsize=65_536)
def _stems_of(name: str) -> frozenset[str]:
    return frozenset(map(stem, parts_of(name)))


@lru_cache(maxsize=65_536)
def _stems_of_path(path: str) -> tuple[str, frozenset[str], frozenset[str]]:
    """The name of a file in small letters, its stems, and those of its folders."""
    folders, _, file = path.rpartition("/")
    return file.lower(), _stems_of(file), _stems_of(folders)


def words_in_name(words: Sequence[str], name: str) -> float:
    """How much of a name the words of a query are, times how much of them it is."""
    own = _stems_of(name)
    both = len(own.intersection(words))
    return both / max(1, len(own)) if both else 0.0


def by_file(scores: dict[int, float], paths: Sequence[str], sizes: dict[str, int]) -> dict[str, float]:
    """The mean of each file's three best chunks; of all its chunks, where it has fewer (`sizes`)."""
    best: dict[str, list[float]] = defaultdict(list)
    for place, score in scores.items():
        best[paths[place]].append(score)
    return {path: sum(sorted(ones, reverse=True)[:_LATER_BEST]) / min(_LATER_BEST, sizes[path]) for path, ones in best.items()}


def spread(scores: dict[int, float], paths: Sequence[str], later: float) -> list[tuple[int, float]]:
    """Best first, each further chunk of a file brought down to a share of its score, and the next to a share of that."""
    seen: dict[str, int] = defaultdict(int)
    found = []
    for place, score in sorted(scores.items(), key=lambda item: -item[1]):
        found.append((place, score * later ** seen[paths[place]]))
        seen[paths[place]] += 1
    return sorted(found, key=lambda item: -item[1])
