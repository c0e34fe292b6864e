"""Finds documentation that was copied from a sibling and not changed. This step needs all pairs of a source.

`HandleNamespaceAttribute` and `HandleBuiltInAttribute` share the text "Handler for the Namespace attribute": it is that of the
first. A pair is a copy if the text names another definition of its package in place of its own. The two names must be equal
but for one word, or for one or two words in the middle; or the names are equal, and the classes (of two words or more) or the
files of one folder differ in one word ("switch.py", "sensor.py"). The text must contain the other's words and not the pair's
own, and the other's words must be neither in the class, the path nor the code of the pair. Verbs that differ in two names are
mostly synonyms ("load", "read") and count only if they are opposites. Definitions with equal names often implement one method
of a base class, so words that name a base class ("node", "element") do not count.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from posixpath import split
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from codesage.corpus.build.keys import read_keys
from codesage.corpus.build.work import result
from codesage.corpus.build.worker import Guard
from codesage.corpus.pairs.joining import JoinUnit
from codesage.corpus.pairs.matching import EMPTY_WORDS
from codesage.corpus.pairs.parsing import PAIRS_FILE
from codesage.corpus.pairs.stems import stems
from codesage.corpus.pairs.verbs import may_be_verb
from codesage.remote.places import Place, parquet
from codesage.words import split_names

_COLUMNS = ("package", "language", "kind", "text", "name", "path", "code")
_UNTELLING = EMPTY_WORDS | frozenset(
    stems(
        "get set new create make do handle handler from init impl internal base value object item data info type name string "
        "list class async sync has given using into platform system entry"
    )
)
_BASES = frozenset(stems("node element document message widget collection text control operator member process entity view"))
_OPPOSITES = frozenset(
    frozenset(pair.split("/"))
    for pair in (
        "add/delete add/remove attach/detach begin/end close/open compress/decompress connect/disconnect create/destroy "
        "decode/encode decrement/increment decrypt/encrypt delete/insert delete/update deserialize/serialize disable/enable "
        "export/import hide/show insert/remove load/save load/store lock/unlock mount/unmount pack/unpack pop/push read/write "
        "register/unregister reset/save restore/save start/stop subscribe/unsubscribe"
    ).split()
)
_PREFIX = 3  # letters of a word that may stand for a longer one: attr, attribute
_SIGN = 5  # letters of a word that show it in code


class Documented(NamedTuple):
    """A pair from documentation: the columns that the rule reads, and its place among the pairs of its source."""

    package: str
    language: str
    kind: str
    text: str
    name: str
    path: str
    code: str
    part: int
    row: int


@dataclass(frozen=True, slots=True)
class FindCopies:
    """Task: the numbers of the pairs of a source whose documentation is that of a sibling, for each of its row groups."""

    def __call__(self, unit: JoinUnit, guard: Guard) -> str:
        """Report the rows; returns the folder."""
        rows: list[list[int]] = [[] for _ in unit.parsed]
        for pair in copies(_sharing(unit)):
            rows[pair.part].append(pair.row)
        with result(unit.folder) as (_, report):
            report["copies"] = [sorted(numbers) for numbers in rows]
        return str(unit.folder)


def copies(pairs: Iterable[Documented]) -> Iterator[Documented]:
    """Yields the pairs whose text is that of another pair, which has the same package, language and kind."""
    sharing: dict[tuple, list[Documented]] = defaultdict(list)
    for pair in pairs:
        sharing[pair.package, pair.language, pair.kind, pair.text.lower()].append(pair)
    for (*_, text), group in sharing.items():
        if len(group) > 1:
            yield from _copies_in(group, frozenset(stems(text)))


def _copies_in(group: list[Documented], text: frozenset[str]) -> Iterator[Documented]:
    """The copies in a group of pairs that share a text with these stems."""
    alike: dict[tuple, list[tuple[Documented, tuple[str, ...]]]] = defaultdict(list)  # names that are equal but for one part
    for pair in group:
        words = split_names(pair.name.rpartition(".")[2])
        spans = [(at, at + 1) for at in range(len(words))] if len(words) > 1 else []
        for start, end in spans + [(at, at + 2) for at in range(1, len(words) - 2)]:
            alike[(*words[:start], "", *words[end:])].append((pair, tuple(filter(_tells, words[start:end]))))
        for home, words in _homes(pair) if pair.kind == "function" else ():
            for at, word in enumerate(words):
                own = (word,) if _tells(word) and stems(word)[0] not in _BASES else ()
                alike[(home, *words[:at], "", *words[at + 1 :])].append((pair, own))
    found = set()
    for key, members in alike.items():
        of_name = not isinstance(key[0], tuple)
        named = sorted({part for _, part in members if part and text.issuperset(_stemmed(part))})
        for pair, part in members if named else ():
            own = part and (pair.part, pair.row) not in found and not any(_is_in(stem, text) for stem in _stemmed(part))
            if own and _is_copy(pair, part, named, of_name=of_name):
                found.add((pair.part, pair.row))
                yield pair


def _homes(pair: Documented) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """The words of the file and of the class of a function, each with what must be equal beside them: name and folder."""
    parent, _, name = pair.name.rpartition(".")
    folder, file = split(pair.path)
    yield ("file", name, folder), split_names(file.partition(".")[0])
    words = split_names(parent.rpartition(".")[2])
    if len(words) > 1:
        yield ("class", name), words


def _is_copy(pair: Documented, own: tuple[str, ...], named: list[tuple[str, ...]], *, of_name: bool) -> bool:
    """Whether a pair has no sign of one of the parts in `named`, which stand elsewhere in place of its `own` part."""
    known, code = stems(f"{pair.name} {pair.path}"), pair.code.lower()
    for part in named:
        same_action = (
            of_name and any(map(may_be_verb, part)) and any(map(may_be_verb, own)) and frozenset(part + own) not in _OPPOSITES
        )
        if not same_action and not any(stem[:_SIGN] in code or _is_in(stem, known) for stem in _stemmed(part)):
            return True
    return False


def _stemmed(words: Iterable[str]) -> list[str]:
    return [stems(word)[0] for word in words]


def _tells(word: str) -> bool:
    return len(word) >= _PREFIX and not word.isdigit() and stems(word)[0] not in _UNTELLING


def _is_in(word: str, others: Iterable[str]) -> bool:
    """Whether a word is one of `others`, or one of the two is short for the other."""
    return any(
        word == other or (min(len(word), len(other)) >= _PREFIX and (word.startswith(other) or other.startswith(word)))
        for other in others
    )


def _sharing(unit: JoinUnit) -> Iterator[Documented]:
    """The documented pairs of a source whose text another one has. Only their texts are read."""
    keys = [read_keys(part.folder)["summary"] for part in unit.parsed]
    values, times = np.unique(np.concatenate(keys), return_counts=True)
    shared = values[(times > 1) & (values != 0)]
    for number, (part, summaries) in enumerate(zip(unit.parsed, keys, strict=True)):
        rows = np.flatnonzero(np.isin(summaries, shared))
        if len(rows):
            columns = (column.to_pylist() for column in _rows(part.folder / PAIRS_FILE, rows).columns)
            for *values, row in zip(*columns, rows, strict=True):
                yield Documented(*values, part=number, row=int(row))


def _rows(file: Place, rows: np.ndarray) -> pa.Table:
    with parquet(file) as opened:
        return opened.read(columns=list(_COLUMNS), use_threads=False).take(pa.array(rows)).select(_COLUMNS)
