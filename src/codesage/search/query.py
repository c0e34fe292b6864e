"""A question to its hits: dense and full-text rankings of all chunks, filtered first, then fused."""

from fnmatch import fnmatchcase

import numpy as np

from codesage.corpus.documents.recognise import is_test
from codesage.encoder.queries import read_query
from codesage.records import Chunk, Hit
from codesage.search.index import Index
from codesage.search.ranking import DENSE_WEIGHT, reciprocal_rank_fusion
from codesage.words import split_words

_DEPTH = 200  # of each ranking that enters the fusion
_TEST_SHARE = 0.9  # of its score that a chunk of a test keeps: enough to bring what it tests before it (docs/log.md)
_OTHER_LANGUAGE_SHARE = 0.7  # chosen, not compared: no query of the benchmarks names a language in a mixed repository
_ABOUT_TESTS = {"test", "tests", "tested", "testing", "spec", "specs"}


def search(
    index: Index, encoder, query: str, *, top: int = 10, language: str = "", glob: str = "", dense_weight: float = DENSE_WEIGHT
) -> list[Hit]:
    """The `top` best chunks for `query`, best first; `language` and `glob` (of paths) restrict before ranking.

    The score is that of reciprocal rank fusion, full text at weight 1 and vectors at `dense_weight`. Tests keep a share of
    it, unless the query speaks of tests: they use the words of what they test, which is what people look for. So does
    code in other languages, where the query names one ("in python") that the index holds.
    """
    with index.unmoved():
        return _search(index, encoder, query, top, language, glob, dense_weight)


def _search(index: Index, encoder, query: str, top: int, language: str, glob: str, dense_weight: float) -> list[Hit]:
    allowed, paths, languages = {}, {}, {}
    for number, path, spoken, row in index.connection.execute("SELECT id, path, language, row FROM chunks ORDER BY id"):
        if (not language or spoken == language) and (not glob or fnmatchcase(path, glob)):
            allowed[number], paths[number], languages[number] = row, path, spoken
    if not allowed or not query.strip():
        return []
    rankings = [_lexical(index, query, allowed), _dense(index, encoder, query, allowed)]
    fused = reciprocal_rank_fusion(rankings, weights=[1.0, dense_weight])
    if _ABOUT_TESTS.isdisjoint(split_words(query)):
        fused = [(number, score * (_TEST_SHARE if is_test(paths[number]) else 1)) for number, score in fused]
    if named := {language for language in read_query(query).languages if language in languages.values()}:
        fused = [(number, score * (1 if languages[number] in named else _OTHER_LANGUAGE_SHARE)) for number, score in fused]
    fused.sort(key=lambda item: -item[1])
    hits = []
    for number, score in fused[:top]:
        values = index.connection.execute(
            "SELECT path, language, kind, name, start_line, end_line, text FROM chunks WHERE id = ?", (number,)
        ).fetchone()
        hits.append(Hit(Chunk(*values), score))
    return hits


def _dense(index: Index, encoder, query: str, allowed: dict[int, int]) -> list[int]:
    numbers = np.fromiter(allowed.keys(), np.int64)
    vectors_CD = index.vectors()[np.fromiter(allowed.values(), np.int64)]
    scores_C = vectors_CD.astype(np.float32) @ encoder.encode([query], kind="text")[0]
    return numbers[np.argsort(-scores_C, kind="stable")[:_DEPTH]].tolist()


def _lexical(index: Index, query: str, allowed: dict[int, int]) -> list[int]:
    words = dict.fromkeys(split_words(query))
    if not words:
        return []
    match = " OR ".join(f'"{word}"' for word in words)
    ranked = index.connection.execute(
        "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words, 4.0, 1.0, 1.0), rowid", (match,)
    )
    return [number for (number,) in ranked if number in allowed][:_DEPTH]
