"""From a query to its hits: rankings by vectors and by words, filtered first, then fused and put in order by rules.

Shapes: N chunks of the index, C candidates (the best of both rankings, and chunks with the name that the query asks for).
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from codesage.encoder.queries import read_query
from codesage.records import Chunk, Encoder, Hit
from codesage.search import around, floor, partial, ranking
from codesage.search.chunks import definitions
from codesage.search.defaults import DENSE_WEIGHT, MOST_OF_QUERY
from codesage.search.filters import ALL, Filter
from codesage.search.index import Index
from codesage.search.kinds import names_version
from codesage.search.ranking import Rules, reciprocal_rank_fusion
from codesage.search.statics import statics_of
from codesage.search.terms import composed, indexed_words, parts_of, query_words
from codesage.search.view import View

_DEPTH = 200  # of each ranking that enters the fusion
_OTHER_LANGUAGE_SHARE = 0.7  # chosen, not compared: no query of the benchmarks names a language in a mixed repository
_QUOTED = re.compile(r"\"([^\"]{3,})\"|'([^']{3,})'|`([^`]{3,})`")
_LONG = 4  # words of a query without quotes that may stand in the text as it is
_EDGE = r"\x00-/:-@\[-^`{-\x7f"  # ASCII that is in no word; ranges of all other characters would take 8 ms to compile
_WHOLE = re.compile(f"(?<=[{_EDGE}])[^{_EDGE}]+(?=[{_EDGE}])")  # words that begin and end within the text
_COMMENT = re.compile(r"^[ \t]*(?:#|//|/?\*|--).*$", re.MULTILINE)  # lines of one
_BEGINNING = re.compile(rf".{{1,{MOST_OF_QUERY}}}(?=\s)|.{{{MOST_OF_QUERY}}}", re.DOTALL)  # of a long query, in whole words
_ONLY_COMMENTS = re.compile(  # a text without code; possessive, so that it takes little time for any text
    r"(?:\s++|\"\"\"(?>(?s:.*?)\"\"\")|/\*(?>(?s:.*?)\*/)|(?://|#(?!\w)|--)[^\n]*+)*+"
)
_AT_ONCE = 1_000  # texts that are looked through at a time
_SPARE_ROWS = 8  # rows read beyond `top`, because equal texts are folded


def search(
    index: Index,
    encoder: Encoder,
    query: str,
    *,
    top: int = 10,
    where: Filter = ALL,
    dense_weight: float = DENSE_WEIGHT,
    rules: Rules | None = None,
    seconds: float = 0.5,
) -> list[Hit]:
    """The `top` best chunks for `query`, best first, of those that `where` lets pass.

    The score is that of reciprocal rank fusion, full text at weight 1 and vectors by `dense_weight` (0: full text alone),
    changed by the rules of search.ranking; `parts` of a hit says how. Code in other languages than the query names ("in
    python") keeps a share, where the index holds one that it names. Equal texts are one hit, which counts the others. Where the
    index is not encoded in full, about `seconds` go into encoding what looks best; `tier` of a hit says what it rests on. A
    query that no chunk matches has no hits (search.floor). A query without words, such as `<=>`, finds the chunks that hold it.
    Of a long query only the beginning counts (`considered`).
    """
    query = considered(query)
    with index.snapshot():
        view = index.view()
        allowed_N = where.allowed(view, lambda places: texts_of(index, view, places))
        if not query.strip() or (allowed_N is not None and not allowed_N.any()):
            return []
        rules = rules or Rules()
        if rules.floor and (signs := signs_of(query)):
            return _of_signs(index, view, signs, allowed_N, top)
        vector_D = encoder.encode([query], kind="text")[0] if dense_weight else None
        lexical = _lexical(index, view, query, allowed_N)
        dense = None if vector_D is None else _dense(index, view, encoder, query, vector_D, lexical, allowed_N, seconds)
        held = floor.InIndex(index, view, dense.highest if dense else -1.0)
        if rules.floor and not where.patterns and not floor.passes(held, encoder, query, vector_D):
            return []
        if vector_D is None or dense is None:
            hits = ranked(index, view, query, [lexical], allowed_N, dense_weight, rules, top)
            return [replace(hit, tier="words") for _, hit in hits]
        hits = ranked(index, view, query, [lexical, dense.places], allowed_N, dense_weight, rules, top)
        return [_with_tier(view, dense, vector_D, place, hit) for place, hit in hits]


def considered(query: str) -> str:
    """The part of a query that is searched for: all words within its first MOST_OF_QUERY characters."""
    begun = _BEGINNING.match(query.strip() + " ") if len(query) > MOST_OF_QUERY else None
    return begun[0] if begun else query


def _of_signs(index: Index, view: View, signs: list[str], allowed_N: np.ndarray | None, top: int) -> list[Hit]:
    """The chunks that hold a query without words, such as `<=>`, those with it in their name first, then those with it most."""
    allowed = list(range(len(view.paths))) if allowed_N is None else np.flatnonzero(allowed_N).tolist()
    found = []
    for start in range(0, len(allowed), _AT_ONCE):
        for place, text in texts_of(index, view, allowed[start : start + _AT_ONCE]):
            if count := min(map(text.count, signs)):
                found.append((any(one in view.names[place] for one in signs), count, -place))
    best = sorted(found, reverse=True)[:top]
    chunks = index.chunks_of(view.numbers_N[[-place for *_, place in best]].tolist(), view.texts)
    return [hit_of_signs(chunk, count, named=named) for chunk, (named, count, _) in zip(chunks, best, strict=True)]


def signs_of(query: str) -> list[str]:
    """What chunks must hold, as it stands, for a query without words; nothing for other queries."""
    return [] if query_words(query) else _quoted(query) or [query.strip()]


def hit_of_signs(chunk: Chunk, count: int, *, named: bool) -> Hit:
    """The hit of a chunk that holds such a query `count` times, and in its name if it is `named` so."""
    score = named + 1 - 1 / (1 + count)
    return Hit(chunk, score, {"literal": score}, tier="words")


class _Dense(NamedTuple):
    """What vectors say of a query."""

    places: list[int]  # of the most similar chunks, best first
    known_N: np.ndarray  # bool (N,): which chunks the encoder knows
    scores_N: np.ndarray | None  # similarities, if they were computed for all chunks

    @property
    def highest(self) -> float:
        """The similarity of the nearest chunk that the encoder knows; -1 where it is not computed."""
        return -1.0 if self.scores_N is None else float(self.scores_N[self.known_N].max(initial=-1.0))


def _dense(
    index: Index,
    view: View,
    encoder: Encoder,
    query: str,
    vector_D: np.ndarray,
    lexical: list[int],
    allowed_N: np.ndarray | None,
    seconds: float,
) -> _Dense:
    if view.complete:
        return _Dense(view.nearest(vector_D, _DEPTH, allowed_N), view.encoded_N, None)
    statics = statics_of(encoder)
    static_D = statics.encode_query(query) if statics else None

    def order(scores_N: np.ndarray) -> list[int]:
        return [place for place, _ in reciprocal_rank_fusion([lexical, _best(scores_N, allowed_N)], k=ranking.K)]

    scores_N, known_N = partial.similarities(index, view, encoder, vector_D, static_D, order, seconds)
    return _Dense(_best(scores_N, allowed_N), known_N, scores_N)


def _with_tier(view: View, dense: _Dense, vector_D: np.ndarray, place: int, hit: Hit) -> Hit:
    similarity = view.similarity(place, vector_D) if dense.scores_N is None else float(dense.scores_N[place])
    if dense.known_N[place]:
        return replace(hit, similarity=similarity)
    static = view.statics_ND is not None and view.statics_ND[place].any()
    return replace(hit, similarity=similarity, tier="static" if static else "words")


def ranked(
    index: Index,
    view: View,
    query: str,
    rankings: list[list[int]],
    allowed_N: np.ndarray | None,
    dense_weight: float,
    rules: Rules,
    top: int,
) -> list[tuple[int, Hit]]:
    """The best hits with their places, from the rankings by words and vectors."""
    own = ranking.joined(rankings, ranking.OF_CHUNK * dense_weight)
    of_file = ranking.joined(rankings, ranking.OF_FILE * dense_weight)
    candidates = _candidates(index, view, query, {place: (one, of_file[place]) for place, one in own.items()}, allowed_N, rules)
    return _hits(index, view, query, candidates, rules, top)


def texts_of(index: Index, view: View, places: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield (place, text) of places in the view."""
    for number, text in index.texts_of(view.numbers_N[list(places)].tolist(), view.texts).items():
        yield view.positions[number], text


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Places in the index, and what each rule adds to the score of each; `share_C`: what a chunk keeps of the sum."""

    places_C: np.ndarray
    parts: dict[str, np.ndarray]
    share_C: np.ndarray
    first_C: np.ndarray  # bool: what comes before all others

    def totals(self) -> np.ndarray:
        total_C = np.zeros(len(self.places_C))
        for part_C in self.parts.values():
            total_C += part_C
        return total_C * self.share_C

    def explained(self, at: int) -> dict[str, float]:
        """What the score of one candidate is made of."""
        parts = {rule: float(part_C[at]) for rule, part_C in self.parts.items() if part_C[at]}
        return parts | ({"share of its kind": float(self.share_C[at])} if self.share_C[at] != 1 else {})


def _candidates(
    index: Index, view: View, query: str, scores: dict[int, tuple[float, float]], allowed_N: np.ndarray | None, rules: Rules
) -> _Candidates:
    """What each rule adds to each candidate; chunks with the name that the query asks for become candidates.

    `scores`: the fused score of each, and the one that counts for its file.
    """
    words, name = ranking.content_words(query), ranking.requested_name(query) if rules.name else ""
    for place in view.chunks_by_name.get(name.lower(), ()) if name else ():
        if allowed_N is None or allowed_N[place]:
            scores.setdefault(place, (0.0, 0.0))
    places_C = np.fromiter(scores, np.int64, len(scores))
    own_C, for_file_C = np.array(list(scores.values()), np.float64).reshape(-1, 2).T
    names = [view.names[place] for place in scores]
    distinct, path_C = np.unique(view.path_N[places_C], return_inverse=True)
    paths = [view.distinct_paths[path] for path in distinct]
    named_C = _named(index, view, query, name, places_C) if name else np.zeros(len(names))
    alone = ranking.requested_name(query)
    held_C = np.zeros(len(names)) if alone else np.array([ranking.words_in_name(words, one) for one in names])
    parts = {
        "words and vectors": own_C,
        "file": rules.file * ranking.by_file(for_file_C, path_C, view.sizes[distinct])[path_C],
        "words in file": rules.whole * _whole(index, view, query)[distinct][path_C] if rules.whole else np.zeros(len(names)),
        "name": rules.name * named_C,
        "file of that name": rules.home * _at_home(name, paths)[path_C] * np.where(named_C > ranking.IN_PART, named_C, 0.0),
        "words in path": rules.path * np.array([ranking.words_in_path(words, path) for path in paths])[path_C],
        "words in name": rules.part * held_C,
        "identifiers": rules.identifier * _identifiers(index, view, query, places_C),
        "literal": rules.literal * (_literals(index, view, query, places_C) if rules.literal else np.zeros(len(names))),
    }
    share_C = _shares(view, query, distinct, rules)[path_C] * _language_shares(view, query, places_C)
    share_C *= _signposts(index, view, places_C, rules)
    first_C = parts["literal"] > 0 if _quoted(query) else _defining(query, named_C, share_C)
    return _Candidates(places_C, parts, share_C, first_C)


def _whole(index: Index, view: View, query: str) -> np.ndarray:
    """How well the words of the query match each file as a whole, beside the file that they match best."""
    return view.postings.shares_of_files(index.connection, query_words(query), view.path_N, len(view.distinct_paths))


def _named(index: Index, view: View, query: str, name: str, places_C: np.ndarray) -> np.ndarray:
    """How well the name of each candidate matches the name in the query.

    Constants, types and macros are chunks without a name: their text shows whether it defines `name`.
    """
    own_C = np.array([ranking.named(query, view.names[place], view.kinds[place]) for place in places_C.tolist()])
    others = _other_parts(index, view, name, places_C[own_C >= ranking.EXACT].tolist())
    own_C[np.isin(places_C, others)] = ranking.IN_PART
    defining_C = _with_text(index, view, places_C, indexed_words(name), lambda text: ranking.defines(text, name))
    return np.maximum(own_C, 0.8 * defining_C)


def _other_parts(index: Index, view: View, name: str, places: Sequence[int]) -> list[int]:
    """Of long definitions of that name, which are indexed in parts, those parts that do not show what they define.

    A long comment, which may hold examples, comes before the line that defines it. Parts of a class are found by its name and
    file alone, since its methods lie between its own lines.
    """
    together = defaultdict(list)
    for place in places:
        if view.kinds[place] != "window":
            together[view.path_N[place], view.names[place], view.kinds[place]].append(place)
    others = []
    for (*_, kind), same in together.items():
        if len(same) == 1:
            continue
        chunks = index.chunks_of(view.numbers_N[same].tolist(), view.texts)
        ordered = sorted(zip(chunks, same, strict=True), key=lambda one: (one[0].start_line, one[0].end_line))
        shown = [ranking.shows(_COMMENT.sub("", chunk.text), name) for chunk, _ in ordered]
        if kind == "class":
            others += [place for (_, place), own in zip(ordered, shown, strict=True) if own < max(shown) == 2]
            continue
        for parts in definitions([(chunk.start_line, chunk.end_line) for chunk, _ in ordered]):
            best = max(parts, key=shown.__getitem__)  # of equal ones the first
            others += [ordered[at][1] for at in parts if at != best]
    return others


def _defining(query: str, named_C: np.ndarray, share_C: np.ndarray) -> np.ndarray:
    """Bool (C,): the definitions of the name in the query, exactly as typed; those in tests only if there are no others.

    Nothing for a single word in small letters, which need not be meant as a name, and for a capitalised one, whose file counts.
    """
    if not ranking.is_meant_exactly(query.strip()):
        return np.zeros(len(named_C), bool)
    exact_C = named_C >= ranking.EXACT
    usual_C = exact_C & (share_C >= 1)
    return usual_C if usual_C.any() else exact_C


def _at_home(name: str, paths: Sequence[str]) -> np.ndarray:
    """1 for each file that has the name in the query, else 0."""
    return np.array([bool(name) and ranking.is_home(name, path) for path in paths], float)


def _quoted(query: str) -> list[str]:
    """What a query holds in quotation marks."""
    return [next(filter(None, match.groups())) for match in _QUOTED.finditer(query)]


def _literals(index: Index, view: View, query: str, places_C: np.ndarray) -> np.ndarray:
    """1 for each candidate that holds what the query quotes, or the whole of a long query; else 0."""
    wanted = _quoted(query)
    if not wanted and len(query.split()) >= _LONG:
        wanted = [query.strip()]
    if not wanted:
        return np.zeros(len(places_C))
    wanted = list(map(composed, wanted))
    words = [word for one in wanted for whole in _WHOLE.findall(one) for word in indexed_words(whole)]
    return _with_text(index, view, places_C, words, lambda text: all(one in composed(text) for one in wanted))


def _identifiers(index: Index, view: View, query: str, places_C: np.ndarray) -> np.ndarray:
    """The share of the identifiers in the query that each candidate holds."""
    names, share_C = ranking.identifiers(composed(query)), np.zeros(len(places_C))
    for name in names:

        def holds(text: str, name: str = name) -> bool:
            return ranking.holds_name(composed(text), name)

        share_C += _with_text(index, view, places_C, indexed_words(name), holds)
    return share_C / max(1, len(names))


def _with_text(index: Index, view: View, places_C: np.ndarray, words: list[str], wanted: Callable[[str], bool]) -> np.ndarray:
    """1.0 for each candidate whose text is `wanted`, else 0.0. Only texts with all of `words` are tested."""
    possible_C = view.postings.hold_all(index.connection, dict.fromkeys(words), places_C)
    numbers = view.numbers_N[places_C[possible_C]].tolist()
    matching = {number for number, text in index.texts_of(numbers, view.texts).items() if wanted(text)}
    return np.array([float(number in matching) for number in view.numbers_N[places_C].tolist()])


def _shares(view: View, query: str, paths: np.ndarray, rules: Rules) -> np.ndarray:
    """The share of its score that a chunk keeps for the kind of its file, for each path."""
    requested = ranking.requested_kinds(query)

    def share(path: int) -> float:
        kind = view.files[path]
        if kind == "legacy" and names_version(query, view.distinct_paths[path]):
            return 1.0
        return ranking.REQUESTED_SHARE if kind in requested else rules.kinds.get(kind, 1.0)

    return np.array([share(path) for path in paths.tolist()])


def _signposts(index: Index, view: View, places_C: np.ndarray, rules: Rules) -> np.ndarray:
    """The share of its score that the only chunk of a file of code keeps: less than 1 if it holds nothing but comments."""
    alone_C = view.sizes[view.path_N[places_C]] == 1
    whole = [place for place in places_C[alone_C].tolist() if view.kinds[place] == "window"]
    code = [place for place in whole if view.files[view.path_N[place]] == "code"]
    found = [place for place, text in texts_of(index, view, code) if _ONLY_COMMENTS.fullmatch(text)]
    return np.where(np.isin(places_C, found), rules.kinds.get("comments", 1.0), 1.0)


def _language_shares(view: View, query: str, places_C: np.ndarray) -> np.ndarray:
    """The share of its score that a chunk keeps for its language: less than 1 if the query names another one."""
    present = view.language_counts.keys() & set(read_query(query).languages)
    if not present:
        return np.ones(len(places_C))
    others = (view.languages[place] not in present for place in places_C.tolist())
    return np.array([_OTHER_LANGUAGE_SHARE if other else 1.0 for other in others])


def _hits(index: Index, view: View, query: str, candidates: _Candidates, rules: Rules, top: int) -> list[tuple[int, Hit]]:
    """The best hits with their positions. Hits with equal text become one."""
    order, scores = ranking.spread(candidates.totals(), view.path_N[candidates.places_C], rules.later)
    order, scores = ranking.before(candidates.first_C[order], order, scores)
    if rules.around and not around.asks_for_such(parts_of(query)):
        order = _code_first(index, view, candidates, order, top + _SPARE_ROWS)
    rows, alike = [], {}
    for at, chunk, score in _rows(index, view, candidates, order, scores, top + _SPARE_ROWS):
        key = hashlib.sha256(" ".join(chunk.text.split()).encode()).digest()
        alike[key] = alike.get(key, -1) + 1
        if not alike[key]:
            if len(rows) == top:
                break
            rows.append((key, at, chunk, score))
    return [
        (int(candidates.places_C[at]), Hit(chunk, score, candidates.explained(at), alike[key]))
        for key, at, chunk, score in rows
    ]


def _code_first(index: Index, view: View, candidates: _Candidates, order: np.ndarray, size: int) -> np.ndarray:
    """The order, in which chunks that only stand around code change places with code of their file (search.around).

    So the places and scores of files stay. `size`: the places that are looked at. What holds a name or a text that the query
    asks for keeps its place.
    """
    order, file_C = order.copy(), view.path_N[candidates.places_C[order]]
    wanted_C = candidates.parts["name"] + candidates.parts["identifiers"] + candidates.parts["literal"] > 0
    known: dict[int, bool] = {}

    def is_code(at: int) -> bool:
        place = int(candidates.places_C[at])
        if view.kinds[place] != "window" or not view.languages[place] or wanted_C[at]:
            return True
        if at not in known:
            known[at] = not any(around.stands_around(text) for _, text in texts_of(index, view, [place]))
        return known[at]

    for rank in range(min(size, len(order))):
        if not is_code(order[rank]):
            later = np.flatnonzero(file_C[rank + 1 :] == file_C[rank]) + rank + 1
            other = next((one for one in later.tolist() if is_code(order[one])), rank)
            order[[rank, other]] = order[[other, rank]]
    return order


def _rows(
    index: Index, view: View, candidates: _Candidates, order: np.ndarray, scores: np.ndarray, size: int
) -> Iterator[tuple[int, Chunk, float]]:
    """Candidates in order, each with its chunk and its score, `size` read at a time."""
    for start in range(0, len(order), size):
        some = order[start : start + size].tolist()
        chunks = index.chunks_of(view.numbers_N[candidates.places_C[some]].tolist(), view.texts)
        yield from zip(some, chunks, scores[start : start + size].tolist(), strict=True)


def _best(scores_N: np.ndarray, allowed_N: np.ndarray | None) -> list[int]:
    if allowed_N is not None:
        scores_N = np.where(allowed_N, scores_N, -np.inf)
    return ranking.best(scores_N, min(_DEPTH, len(scores_N) if allowed_N is None else int(allowed_N.sum())))


def _lexical(index: Index, view: View, query: str, allowed_N: np.ndarray | None) -> list[int]:
    scores_N = view.postings.scores(index.connection, query_words(query))
    if allowed_N is not None:
        scores_N *= allowed_N
    return ranking.best(scores_N, min(_DEPTH, int(np.count_nonzero(scores_N))))
