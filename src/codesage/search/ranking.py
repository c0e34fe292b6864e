"""Join two rankings by reciprocal rank fusion, then apply a few rules about names, files and kinds.

In: the best chunks by words and by vectors. Out: scores with their parts, best first. Reciprocal rank fusion (Cormack,
Clarke and Buettcher, SIGIR 2009) needs no calibration between cosine and BM25 scores; it is scaled so that the first of
both rankings has 1. The rankings are fused twice: words count most where a file is chosen, vectors where a chunk is, since
the words of a question are often in other chunks of the right file. Every rule has a weight in `Rules`; what each gives is
measured in docs/log.md.
"""

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

import numpy as np

from codesage.search.terms import SAME, parts_of, stem

Key = TypeVar("Key", bound=Hashable)

REQUESTED_SHARE = 1.3  # factor of the score of a file whose kind the query asks for
K = 60.0  # of the fusion, its usual value
OF_CHUNK, OF_FILE = 32.0, 0.5  # how much of the weight of the vectors counts for a chunk and for its file
_SPEAKING = 5  # chunks of a file that speak for it, at most
_STOP = {
    "an", "and", "are", "as", "at", "be", "by", "can", "do", "does", "for", "from", "get", "how", "if", "into", "is", "it",
    "in", "its", "my", "of", "on", "one", "or", "that", "the", "this", "to", "use", "used", "using", "was", "we", "what",
    "when", "where", "which", "who", "why", "with", "you", "your", "work", "works", "handled", "implemented",
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|::|->|#)[A-Za-z_$][\w$]*)*[?!]?")
_SEPARATOR = re.compile(r"\.|::|->|#")
_DEFINING = re.compile(
    r"\b(?:class|interface|type|struct|enum|union|trait|module|const|let|var|def|function|func|define|namespace|record)\s+"
    r"(?:[\w.]+::)?\Z"
)
_IDENTIFIER = re.compile(
    r"(?<![\w$])(?:"
    r"[A-Za-z_$][\w$]*(?:(?:\.|::|->|#)[A-Za-z_$][\w$]+)+"  # Session.get, but not e.g
    r"|(?=[\w$]*(?:[a-z0-9][A-Z]|[^\W_]_[^\W_]))[A-Za-z_$][\w$]*"  # readAll, has_many
    r"|[A-Za-z_$][\w$]*(?=\(\))"  # use()
    r")"
)
_EDGES = frozenset(" \t\n\r\f\v:")
_LEAST_PART, _LEAST_WORD = 3, 4  # letters of a part of a name that may begin a word, and of a word that may begin a part
_BEFORE = 80  # characters before a name that are looked at for the word that defines it


@dataclass(frozen=True, slots=True)
class Rules:
    """The weights of the rules; 0 (1 for shares) switches one off."""

    file: float = 2.0  # a file's five best chunks, their mean
    whole: float = 0.3  # full text of the whole file, beside that of the best file
    later: float = 0.5  # share that each further chunk of a file keeps
    name: float = 1.0  # the query is the name of the chunk
    home: float = 1.0  # the query is the name of the chunk, and its file has that name too
    path: float = 0.8  # query words in the name of the file, and half as much in those of its folders; see words_in_path
    part: float = 0.4  # query words in the name of the chunk, see words_in_name
    identifier: float = 0.3  # names in the query that cannot be plain words, as they stand, in the text
    literal: float = 2.0  # the query as it stands, in the text
    around: bool = True  # imports, licences and the like leave their place to code of their file, see search.around
    floor: bool = True  # a query that no chunk matches gets no answer, see search.floor
    kinds: dict[str, float] = field(default_factory=lambda: dict(_KINDS))  # share that a kind of file keeps


_KINDS = {
    "code": 1.0,
    "declarations": 0.7,
    "types": 0.7,
    "legacy": 0.7,
    "example": 0.6,
    "test": 0.5,
    "generated": 0.6,
    "vendored": 0.5,
    "docs": 0.8,
    "data": 0.7,
    "comments": 0.6,  # a file of code that holds nothing else, such as an __init__.py of one docstring
}
EXACT = 0.9  # how well a name matches at least that is the one in the query, in the same case
IN_PART = 0.3  # how well a name matches that only holds the one in the query
_KIND_WORDS = {  # words that ask for a kind of file; two words where one alone usually means something else
    "test": {
        "test", "tests", "tested", "testing", "spec", "specs", "fixture", "fixtures",
        "mock", "mocks", "mocked", "mocking", "benchmark", "benchmarks", "benchmarking",
    },
    "example": {"example", "examples", "sample", "demo", "tutorial"},
    "generated": {"generated code", "generated file", "generated files", "generated class", "generated classes"},
    "vendored": {"vendor", "vendored"},
    "legacy": {"legacy", "deprecated", "compat", "old code", "old file", "old files", "old version", "old versions"},
    "docs": {"docs", "documentation", "readme", "changelog", "guide", "license", "licence"},
    "declarations": {
        "header", "header files", "declaration", "declarations", "declared", "prototype", "typedef", "struct",
        "stub", "contract", "contracts",
    },
    "types": {"type", "types", "typings"},
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


def joined(rankings: Sequence[Sequence[Key]], dense_weight: float) -> dict[Key, float]:
    """The fused score of each key, best first; 1 for one that is first everywhere. Rankings: by words, or also by vectors."""
    weights = [1.0, dense_weight][: len(rankings)]
    fused = reciprocal_rank_fusion(rankings, weights=weights, k=K)
    return {key: score * (K + 1) / sum(weights) for key, score in fused}


def content_words(query: str) -> list[str]:
    """The distinct stems of a query without stop words."""
    words = [word for word in parts_of(query) if not is_stop_word(word)]
    return list(dict.fromkeys(map(stem, words)))


def is_stop_word(word: str) -> bool:
    """Whether a word of a query is a stop word."""
    return word in _STOP or len(word) < 2


def requested_name(query: str) -> str:
    """The last part of the one name that the whole query is ("Session.get" gives "get"), or ""."""
    return _SEPARATOR.split(query.strip())[-1] if _NAME.fullmatch(query.strip()) else ""


def is_meant_exactly(name: str) -> bool:
    """Whether a name is more than a word: `has_many`, `readAll` or `Session.get`, not `session` or `Session`."""
    return len(_requested(name)) > 1 or not (name[:1].isupper() or (name.isalpha() and name.islower()))


def identifiers(query: str) -> list[str]:
    """The names in a query that are no plain words by their form: `readAll`, `has_many`, `Session.get`, `use` in "use()"."""
    return list(dict.fromkeys(_IDENTIFIER.findall(query)))


def holds_name(text: str, name: str) -> bool:
    """Whether a text holds a name as it stands, not only as a part of a longer one."""
    return name in text and re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text) is not None


def requested_kinds(query: str) -> set[str]:
    """The kinds of files that the words of a query ask for."""
    words = parts_of(query)
    asked = {*words, *(f"{one} {other}" for one, other in pairwise(words))}
    return {kind for kind, asking in _KIND_WORDS.items() if asked & asking}


def named(query: str, name: str, kind: str) -> float:
    """How well the name of a chunk matches the name in the query: 1 if equal, less in another case or in part."""
    requested = _requested(query)
    if not name or requested[-1].lower().replace("_", "") not in name.lower().replace("_", ""):
        return 0.0
    parts = _SEPARATOR.split(name)
    if tuple(parts[-len(requested) :]) == requested:
        return 1.0 if kind == "class" or len(requested) > 1 else EXACT
    plain_requested, plain_name = "".join(requested).lower().replace("_", ""), parts[-1].lower().replace("_", "")
    if "".join(parts[-len(requested) :]).lower().replace("_", "") == plain_requested:
        return 0.7 if query == query.lower() else 0.4  # who types capitals means them
    return IN_PART if len(plain_requested) >= 4 and plain_requested in plain_name else 0.0


def is_home(name: str, path: str) -> bool:
    """Whether the file has this name, as style guides of most languages want it: `SqlMapper` in SqlMapper.cs."""
    file = path.rpartition("/")[2]
    return _plain(file.rpartition(".")[0] or file) == _plain(name)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


@lru_cache(maxsize=64)
def _requested(query: str) -> tuple[str, ...]:
    return tuple(_SEPARATOR.split(query.strip()))


def _lacks(words: Sequence[str], name: str) -> bool:
    """Whether no part of `name` meets one of these stems for certain: what meets begins with the same letters.

    A word of SAME counts as the word that has its stem.
    """
    lowered = name.lower()
    for other, one in SAME.items():
        lowered = lowered.replace(other, one)
    return name.isascii() and not any(word[:_LEAST_PART] in lowered for word in words)


def defines(text: str, name: str) -> bool:
    """Whether a text defines `name` by a word such as class, const or def."""
    at = text.find(name)
    while at >= 0:
        after = text[at + len(name) : at + len(name) + 2]
        whole = not (after[:1].isalnum() or after[:1] == "_" or (after[:1] in ("?", "!") and after[1:] != ":"))
        if whole and text[at - 1 : at] in _EDGES and _DEFINING.search(text, max(0, at - _BEFORE), at):
            return True
        at = text.find(name, at + 1)
    return False


def shows(text: str, name: str) -> int:
    """How likely a part of a definition holds the line that defines `name`: 2 with a word such as def, 1 with parameters."""
    return 2 if defines(text, name) else int(f"{name}(" in text)


def words_in_path(words: Sequence[str], path: str) -> float:
    """How well words and the path of a file match, in 0..1: the mean of two shares.

    One is that of the words that the name of the file holds, where words that only a folder is named by count half; the other
    is that of the parts of the file's name, without its endings, that meet a word (see `words_in_name`).
    """
    if not words or _lacks(words, path):
        return 0.0
    file, bare_stems, file_stems, folder_stems = _stems_of_path(path)
    (in_bare, share), (in_folders, _) = _met(words, bare_stems), _met(words, folder_stems)
    count = 0.0
    for word in words:
        if word in in_bare or word in file_stems or (len(word) >= _LEAST_WORD and word in file):
            count += 1
        elif word in in_folders:
            count += 0.5
    return (count / len(words) + share) / 2


@lru_cache(maxsize=65_536)
def _stems_of(name: str) -> frozenset[str]:
    return frozenset(map(stem, parts_of(name)))


@lru_cache(maxsize=65_536)
def _stems_of_path(path: str) -> tuple[str, frozenset[str], frozenset[str], frozenset[str]]:
    """The name of a file in small letters, its stems without its endings and with them, and the stems of its folders."""
    folders, _, file = path.rpartition("/")
    return file.lower(), _stems_of(file.partition(".")[0]), _stems_of(file), _stems_of(folders)


def words_in_name(words: Sequence[str], name: str) -> float:
    """How well words and a name match as stems, in 0..1: the mean of the shares of both that meet one of the other.

    A word and a part of a name meet if they are equal or one begins the other: `conn` and connection, `authentication` and
    auth. What begins the other has at least three letters in a name, and four among the words.
    """
    if not words or _lacks(words, name):
        return 0.0
    met, share = _met(words, _stems_of(name))
    return (share + len(met) / len(words)) / 2


def _met(words: Sequence[str], stems: frozenset[str]) -> tuple[set[str], float]:
    """The words that meet one of the stems of a name, and the share of the stems that meet a word."""
    begun, long = _beginnings(tuple(words))
    met: set[str] = set()
    count = 0
    for one in stems:
        own = begun.get(one)
        if one.startswith(long):
            own = {*(own or ()), *filter(one.startswith, long)}
        if own:
            met.update(own)
            count += 1
    return met, count / len(stems) if stems else 0.0


@lru_cache(maxsize=64)
def _beginnings(words: tuple[str, ...]) -> tuple[dict[str, frozenset[str]], tuple[str, ...]]:
    """The words by each part of a name that is equal or begins them, and those long enough to begin such a part."""
    begun: dict[str, set[str]] = {}
    for word in words:
        for end in {len(word), *range(_LEAST_PART, len(word))}:
            begun.setdefault(word[:end], set()).add(word)
    return {part: frozenset(own) for part, own in begun.items()}, tuple(word for word in words if len(word) >= _LEAST_WORD)


def best(scores_N: np.ndarray, depth: int) -> list[int]:
    """The places of the `depth` highest scores, best first; of equal ones the first."""
    if depth < len(scores_N):
        places = np.flatnonzero(scores_N >= np.partition(scores_N, -depth)[-depth]) if depth else np.empty(0, np.int64)
    else:
        places = np.arange(len(scores_N))
    return places[np.argsort(-scores_N[places], kind="stable")][:depth].tolist()


def by_file(score_C: np.ndarray, file_C: np.ndarray, sizes_F: np.ndarray) -> np.ndarray:
    """(F,): the mean of each file's five best chunks; of all its chunks, where it has fewer (`sizes_F`).

    `file_C`: the number of each chunk's file, from 0.
    """
    order, rank_C = _ranked(score_C, file_C)
    sum_F = np.zeros(len(sizes_F))
    for rank in range(_SPEAKING):
        ranked = order[rank_C == rank]
        sum_F[file_C[ranked]] += score_C[ranked]
    return sum_F / np.minimum(_SPEAKING, sizes_F)


def spread(score_C: np.ndarray, file_C: np.ndarray, later: float) -> tuple[np.ndarray, np.ndarray]:
    """Each further chunk of a file brought down to a share of its score, and the next to a share of that.

    Returns the order, best first, and the scores in that order.
    """
    order, rank_C = _ranked(score_C, file_C)
    lowered_C = score_C[order] * later**rank_C
    again = np.argsort(-lowered_C, kind="stable")
    return order[again], lowered_C[again]


def before(first_C: np.ndarray, order: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An order and its scores with those that are `first_C` before all others, and raised above their scores."""
    highest = float(scores[~first_C].max(initial=0.0))
    places = np.concatenate([np.flatnonzero(first_C), np.flatnonzero(~first_C)])
    return order[places], (scores + highest * first_C)[places]


def _ranked(score_C: np.ndarray, file_C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of chunks, best first, equal ones as they came, and for each in that order how many of its file come before."""
    order = np.argsort(-score_C, kind="stable")
    together = np.argsort(file_C[order], kind="stable")
    files = file_C[order][together]
    rank_C = np.empty(len(order), np.int64)
    rank_C[together] = np.arange(len(order)) - np.searchsorted(files, files)
    return order, rank_C
