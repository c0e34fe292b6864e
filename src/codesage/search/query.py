"""A question to its hits: rankings by vectors and by words, filtered first, then fused and put in order by rules."""

import hashlib
import re

import numpy as np

from codesage.encoder.queries import read_query
from codesage.records import Chunk, Hit
from codesage.search import ranking
from codesage.search.filters import ALL, Filter
from codesage.search.index import Index
from codesage.search.ranking import DENSE_WEIGHT, Rules, reciprocal_rank_fusion
from codesage.search.terms import query_words
from codesage.search.view import View

_DEPTH = 200  # of each ranking that enters the fusion
_OTHER_LANGUAGE_SHARE = 0.7  # chosen, not compared: no query of the benchmarks names a language in a mixed repository
_QUOTED = re.compile(r"\"([^\"]{3,})\"|'([^']{3,})'|`([^`]{3,})`")
_LONG = 4  # words of a query without quotes that may stand in the text as it is
_COLUMNS = "path, language, kind, name, start_line, end_line, text"


def search(
    index: Index, encoder, query: str, *, top: int = 10, where: Filter = ALL, dense_weight: float = DENSE_WEIGHT,
    rules: Rules | None = None,
) -> list[Hit]:  # fmt: skip
    """The `top` best chunks for `query`, best first, of those that `where` lets pass.

    The score is that of reciprocal rank fusion, full text at weight 1 and vectors at `dense_weight` (0: full text alone),
    changed by the rules of search.ranking; `parts` of a hit says how. Code in other languages than the query names ("in
    python") keeps a share, where the index holds one that it names. Equal texts are one hit, which counts the others.
    """
    with index.unmoved():
        return _search(index, encoder, query, top, where, dense_weight, rules or Rules())


def _search(
    index: Index, encoder, query: str, top: int, where: Filter, dense_weight: float, rules: Rules
) -> list[Hit]:
    view = index.view()
    allowed_N = where.allowed(view, lambda places: texts_of(index, view, places))
    if not query.strip() or (allowed_N is not None and not allowed_N.any()):
        return []
    rankings = [_lexical(index, view, query, allowed_N)]
    if dense_weight:
        rankings.append(_dense(view, encoder, query, allowed_N))
    fused = reciprocal_rank_fusion(rankings, weights=[1.0, dense_weight][: len(rankings)], k=ranking.K)
    first = (1 + dense_weight if dense_weight else 1.0) / (ranking.K + 1)
    scores = {place: score / first for place, score in fused}
    parts = _parts(index, view, query, scores, allowed_N, rules)
    totals = {place: sum(own.values()) for place, own in parts.items()}
    for place, share in _shares(view, query, totals, rules).items():
        totals[place] *= share
        parts[place]["share of its kind"] = share
    hits = _hits(index, ranking.spread(totals, view.paths, rules.later), parts, top)
    return hits


def _parts(
    index: Index, view: View, query: str, scores: dict[int, float], allowed_N, rules: Rules
) -> dict[int, dict[str, float]]:
    """What each rule adds to each candidate; chunks that bear the name that was asked for become candidates."""
    words, name = ranking.content_words(query), ranking.asked_name(query)
    if name and rules.name:
        for place in view.bearers.get(name.lower(), ()):
            if allowed_N is None or allowed_N[place]:
                scores.setdefault(place, 0.0)
    files = ranking.by_file(scores, view.paths, view.sizes)
    literal = _literals(index, view, query, scores) if rules.literal else set()
    defines = _definitions(index, view, name, scores) if name and rules.name else set()
    parts = {}
    for place, score in scores.items():
        named = ranking.named(query, view.names[place], view.kinds[place]) if name else 0.0
        own = {
            "words and vectors": score,
            "file": rules.file * files[view.paths[place]],
            "name": rules.name * max(named, 0.8 * (place in defines)),
            "words in path": rules.path * ranking.words_in_path(words, view.paths[place]),
            "words in name": rules.part * ranking.words_in_name(words, view.names[place]) if not name else 0.0,
            "literal": rules.literal * (place in literal),
        }
        parts[place] = {rule: value for rule, value in own.items() if value}
    return parts


def _definitions(index: Index, view: View, name: str, places) -> set[int]:
    """Candidates without a name of their own (constants, types, macros) whose text defines `name`."""
    defined = re.compile(
        r"\b(?:class|interface|type|struct|enum|union|trait|module|const|let|var|def|function|func|define|namespace|record)\s+"
        rf"(?:[\w.]+::)?{re.escape(name)}\b"
    )
    return {place for place, text in texts_of(index, view, places) if defined.search(text)}


def _literals(index: Index, view: View, query: str, places) -> set[int]:
    wanted = [next(filter(None, found.groups())) for found in _QUOTED.finditer(query)]
    if not wanted and len(query.split()) >= _LONG:
        wanted = [query.strip()]
    if not wanted:
        return set()
    return {place for place, text in texts_of(index, view, places) if all(one in text for one in wanted)}


def texts_of(index: Index, view: View, places):
    """Yield (place, text) of places in the view."""
    numbers = ",".join(str(view.numbers_N[place]) for place in places)
    for number, text in index.connection.execute(f"SELECT id, text FROM chunks WHERE id IN ({numbers})"):
        yield view.place[number], text


def _shares(view: View, query: str, places, rules: Rules) -> dict[int, float]:
    """What share of its score a chunk keeps, where it is not all."""
    asked = ranking.kinds_asked(query)
    named = read_query(query).languages
    spoken = set(named).intersection(view.languages) if named else set()
    shares = {}
    for place in places:
        kind = view.files[place]
        share = ranking.ASKED_SHARE if kind in asked else rules.kinds.get(kind, 1.0)
        if spoken and view.languages[place] not in spoken:
            share *= _OTHER_LANGUAGE_SHARE
        if share != 1:
            shares[place] = share
    return shares


def _hits(index: Index, ranked: list[tuple[int, float]], parts: dict, top: int) -> list[Hit]:
    """The best, equal texts folded into the first of them."""
    view, found, alike = index.view(), [], {}
    for place, score in ranked:
        number = int(view.numbers_N[place])
        row = index.connection.execute(f"SELECT {_COLUMNS} FROM chunks WHERE id = ?", (number,)).fetchone()
        key = hashlib.sha256(" ".join(row[-1].split()).encode()).digest()
        alike[key] = alike.get(key, -1) + 1
        if not alike[key]:
            if len(found) == top:
                break
            found.append((key, Chunk(*row), score, parts[place]))
    return [Hit(chunk, score, own, alike[key]) for key, chunk, score, own in found]


def _dense(view: View, encoder, query: str, allowed_N: np.ndarray | None) -> list[int]:
    scores_N = view.similarities(encoder.encode([query], kind="text")[0])
    if allowed_N is not None:
        scores_N = np.where(allowed_N, scores_N, -np.inf)
    depth = min(_DEPTH, len(scores_N) if allowed_N is None else int(allowed_N.sum()))
    best = np.argpartition(-scores_N, depth - 1)[:depth] if depth < len(scores_N) else np.arange(len(scores_N))
    return best[np.lexsort((best, -scores_N[best]))].tolist()[:depth]


def _lexical(index: Index, view: View, query: str, allowed_N: np.ndarray | None) -> list[int]:
    words = query_words(query)
    if not words:
        return []
    limit = f" LIMIT {_DEPTH}" if allowed_N is None else ""
    ranked = index.connection.execute(
        f"SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words, 4.0, 1.0, 1.0), rowid{limit}",
        (" OR ".join(f'"{word}"' for word in words),),
    )
    places = (view.place[number] for (number,) in ranked)
    return [place for place in places if allowed_N is None or allowed_N[place]][:_DEPTH]
