"""Search in plain loops, with SQLite's FTS5 for words: the reference for tests of ranking. And similar code in one index."""

import hashlib
import math
import re
import sqlite3
from collections import Counter, defaultdict
from fnmatch import fnmatchcase

import numpy as np

from codesage.encoder.queries import read_query
from codesage.search import around, ranking
from codesage.search.kinds import kinds_of, names_version
from codesage.search.ranking import Rules
from codesage.search.similar import nearest_to, subject_at
from codesage.search.terms import indexed_words, query_words
from codesage.search.vectors import restored

DEPTH = 200
QUOTED = re.compile(r"\"([^\"]{3,})\"|'([^']{3,})'|`([^`]{3,})`")


def similar(index, path, line, *, top=10, encoder=None):
    """The chunks of an index that are most similar to the one at a line of it."""
    return nearest_to(index, subject_at(index, path, line, encoder), top=top, encoder=encoder)


def plain_search(index, encoder, query, *, top=10, language="", glob="", dense_weight=2.0, rules=None):
    """Returns (path, line, name, score, parts, alike) of each hit."""
    rules = rules or Rules()
    rows = rows_of(index)
    chunks = {
        number: row for number, *row in rows if (not language or row[1] == language) and (not glob or fnmatchcase(row[0], glob))
    }
    if not query.strip() or not chunks:
        return []
    rankings = [[number for number in words_ranked(rows, query) if number in chunks][:DEPTH]]
    if dense_weight:
        rankings.append([number for number in vectors_ranked(index, encoder, query) if number in chunks][:DEPTH])
    name = ranking.requested_name(query)
    own, of_file = fused(rankings, 32 * dense_weight), fused(rankings, dense_weight / 2)
    scores = {number: (score, of_file[number]) for number, score in own.items()}
    if name and rules.name:
        for number, row in chunks.items():
            if row[3] and row[3].rpartition(".")[2].lower() == name.lower():
                scores.setdefault(number, (0.0, 0.0))
    parts = parts_of(rows, chunks, query, name, scores, rules)
    totals = {number: sum(own.values()) for number, own in parts.items()}
    shared(rows, chunks, query, totals, parts, rules)
    ranked = first_of_all(query, parts, spread(totals, chunks, rules.later), rules)
    if rules.around and not around.asks_for_such(re.findall(r"\w+", query.lower())):
        ranked = code_first(chunks, ranked, parts, top + 8)
    return folded(chunks, ranked, parts, top)


def fused(rankings, dense_weight):
    """The score of each number, best first; 1 for one that is first in all rankings."""
    weights, scores = [1.0, dense_weight][: len(rankings)], defaultdict(float)
    for ranking_of, weight in zip(rankings, weights, strict=True):
        for rank, number in enumerate(ranking_of, start=1):
            scores[number] += weight / (60 + rank)
    return {number: scores[number] * 61 / sum(weights) for number in sorted(scores, key=lambda number: -scores[number])}


def rows_of(index):
    """All chunks in order."""
    columns = "id, path, language, kind, name, start_line"
    rows = index.connection.execute(f"SELECT {columns} FROM chunks ORDER BY id").fetchall()
    texts = index.texts_of(row[0] for row in rows)
    return [(*row, texts[row[0]]) for row in rows]


def words_ranked(rows, query):
    """Numbers of chunks by FTS5's BM25, best first."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE words USING fts5 (name, path, text, tokenize = 'unicode61 remove_diacritics 0')")
    for number, path, _, _, name, _, text in rows:
        words = [" ".join(indexed_words(part)) for part in (name, path, text)]
        connection.execute("INSERT INTO words (rowid, name, path, text) VALUES (?, ?, ?, ?)", (number, *words))
    match_query = " OR ".join(f'"{word}"' for word in query_words(query))
    matches = (
        connection.execute(
            "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words, 4.0, 1.0, 1.0), rowid", (match_query,)
        )
        if match_query
        else ()
    )
    return [number for (number,) in matches]


def files_scored(rows, query):
    """BM25 of each file by path: its words, those in names of its chunks four times."""
    counts, lengths = defaultdict(Counter), defaultdict(int)
    for _, path, _, _, name, _, text in rows:
        for words, weight in ((indexed_words(name), 4), (indexed_words(path), 1), (indexed_words(text), 1)):
            lengths[path] += len(words)
            for word in words:
                counts[path][word] += weight
    mean, scores = sum(lengths.values()) / len(lengths), dict.fromkeys(lengths, 0.0)
    for word in query_words(query):
        holding = [path for path in lengths if counts[path][word]]
        idf = max(math.log((len(lengths) - len(holding) + 0.5) / (len(holding) + 0.5)), 1e-6)
        for path in holding:
            norm = 1.2 * (0.25 + 0.75 * lengths[path] / mean)
            scores[path] += idf * counts[path][word] * 2.2 / (counts[path][word] + norm)
    return scores


def vectors_ranked(index, encoder, query):
    """Numbers of chunks by the similarity of their best piece, best first."""
    stored = index.connection.execute("SELECT chunk, vector FROM pieces JOIN vectors USING (row) ORDER BY chunk, part")
    numbers, vectors = zip(*stored, strict=True)
    rows = restored(np.stack([np.frombuffer(vector, np.int8) for vector in vectors]))
    scores = {}
    for number, score in zip(numbers, (rows @ encoder.encode([query], kind="text")[0]).tolist(), strict=True):
        scores[number] = max(score, scores.get(number, -2))
    return sorted(scores, key=lambda number: (-scores[number], number))


def parts_of(rows, chunks, query, name, scores, rules):
    """The score that each rule adds to each candidate."""
    words = ranking.content_words(query)
    sizes, best = defaultdict(int), defaultdict(list)
    for row in rows:
        sizes[row[1]] += 1
    for number, (_, score) in scores.items():
        best[chunks[number][0]].append(score)
    identifiers = identifiers_in(query)
    wanted = [next(filter(None, parts_by_number.groups())) for parts_by_number in QUOTED.finditer(query)]
    if not wanted and len(query.split()) >= 4:
        wanted = [query.strip()]
    files = files_scored(rows, query)
    parts_by_number = {}
    for number, (score, _) in scores.items():
        path, _, kind, own, _, text = chunks[number]
        named = max(ranking.named(query, own, kind), 0.8 * defined(text, name)) if name else 0.0
        parts = {
            "words and vectors": score,
            "file": rules.file * sum(sorted(best[path], reverse=True)[:5]) / min(5, sizes[path]),
            "words in file": rules.whole * files[path] / max(*files.values(), 1e-9),
            "name": rules.name * named,
            "file of that name": rules.home * named * (bool(name) and ranking.is_home(name, path) and named > 0.3),
            "words in path": rules.path * ranking.words_in_path(words, path),
            "words in name": 0.0 if name else rules.part * ranking.words_in_name(words, own),
            "identifiers": rules.identifier * held(text, identifiers),
            "literal": rules.literal * (bool(wanted) and all(one in text for one in wanted)),
        }
        parts_by_number[number] = {rule: value for rule, value in parts.items() if value}
    return parts_by_number


def identifiers_in(query):
    """The names in a query that are no plain words."""
    dotted = re.findall(r"(?<![\w$])[A-Za-z_$][\w$]*(?:(?:\.|::|->|#)[A-Za-z_$][\w$]+)+", query)
    single = [one for one in re.findall(r"[\w$]+", query) if re.search(r"[a-z0-9][A-Z]|[a-zA-Z0-9]_[a-zA-Z0-9]", one)]
    names = [one for one in single if not one[0].isdigit() and not any(one in re.findall(r"[\w$]+", name) for name in dotted)]
    return {*dotted, *names, *re.findall(r"(?<![\w$.])[A-Za-z_$][\w$]*(?=\(\))", query)}


def held(text, names):
    """The share of the names that a text holds."""
    tokens = [re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text) for name in names]
    return sum(one is not None for one in tokens) / max(1, len(tokens))


def defined(text, name):
    """Whether the text defines the name."""
    words = "class|interface|type|struct|enum|union|trait|module|const|let|var|def|function|func|define|namespace|record"
    return bool(re.search(rf"\b(?:{words})\s+(?:[\w.]+::)?{re.escape(name)}\b", text))


def shared(rows, chunks, query, totals, parts, rules):
    """Reduce scores by kind of file, and if the language is not the one that the query names."""
    kinds = ranking.requested_kinds(query)
    languages = set(read_query(query).languages) & {row[2] for row in rows}
    paths = list(dict.fromkeys(row[1] for row in rows))
    kind_by_path = dict(zip(paths, kinds_of(paths), strict=True))
    for number in totals:
        kind = kind_by_path[chunks[number][0]]
        share = ranking.REQUESTED_SHARE if kind in kinds else rules.kinds.get(kind, 1.0)
        if kind == "legacy" and names_version(query, chunks[number][0]):
            share = 1.0
        if kind == "code" and sum(row[1] == chunks[number][0] for row in rows) == 1 and is_comment(chunks[number][5]):
            share *= rules.kinds.get("comments", 1.0)
        share *= 0.7 if languages and chunks[number][1] not in languages else 1.0
        if share != 1:
            totals[number] *= share
            parts[number]["share of its kind"] = share


def is_comment(text):
    """Whether a text is nothing but comments."""
    text = text.strip()
    while text:
        ends = {'"""': '"""', "/*": "*/", "//": "\n", "# ": "\n", "--": "\n"}
        end = next((end for start, end in ends.items() if f"{text} ".startswith(start)), None)
        if end is None or (end != "\n" and end not in text[3:]):
            return False
        text = text[3:].partition(end)[2].strip()
    return True


def spread(totals, chunks, later):
    """Candidates, best first, with the scores of further chunks of a file reduced."""
    seen, ranked = defaultdict(int), []
    for number, score in sorted(totals.items(), key=lambda item: -item[1]):
        path = chunks[number][0]
        ranked.append((number, score * later ** seen[path]))
        seen[path] += 1
    return sorted(ranked, key=lambda item: -item[1])


def first_of_all(query, parts, ranked, rules):
    """Candidates with the text that the query quotes, or exactly its name, before all others."""
    first = [one for one in ranked if QUOTED.search(query) and parts[one[0]].get("literal")]
    if re.fullmatch(r"(\w+[.#]|\w+::)+\w+|[a-z_]\w*[A-Z_0-9]\w*", query):
        exact = [one for one in ranked if rules.name and parts[one[0]].get("name", 0) >= 0.9 * rules.name]
        first = [one for one in exact if parts[one[0]].get("share of its kind", 1) >= 1] or exact
    rest = [one for one in ranked if one not in first]
    highest = max([score for _, score in rest], default=0.0)
    return [(number, score + highest) for number, score in first] + rest


def code_first(chunks, ranked, parts, size):
    """Candidates, where those that only stand around code change places with code of their file, among the first `size`."""
    ranked = list(ranked)

    def is_code(number):
        _, language, kind, _, _, text = chunks[number]
        asked = any(parts[number].get(rule) for rule in ("name", "identifiers", "literal"))
        return kind != "window" or not language or asked or not around.stands_around(text)

    for rank in range(min(size, len(ranked))):
        number, score = ranked[rank]
        for later in range(rank + 1, len(ranked)) if not is_code(number) else ():
            other, lower = ranked[later]
            if chunks[other][0] == chunks[number][0] and is_code(other):
                ranked[rank], ranked[later] = (other, score), (number, lower)
                break
    return ranked


def folded(chunks, ranked, parts, top):
    """The best candidates, with equal texts folded into the first."""
    hits, alike = [], {}
    for number, score in ranked:
        path, _, _, name, line, text = chunks[number]
        key = hashlib.sha256(" ".join(text.split()).encode()).digest()
        alike[key] = alike.get(key, -1) + 1
        if not alike[key]:
            if len(hits) == top:
                break
            own = {rule: round(value, 9) for rule, value in parts[number].items()}
            hits.append((key, (path, line, name, round(score, 9), own)))
    return [(*hit, alike[key]) for key, hit in hits]
