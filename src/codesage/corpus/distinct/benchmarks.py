"""Keep benchmark items out of a corpus. A text counts as a copy when it shares a long run of bytes with an item.

In: a folder of benchmark items (JSON lines), with one subfolder for each set. Out: a filter that names the set of which a
text contains an item. White space and case do not count: both are removed before texts are compared as bytes. The filter
stores the hash of USUAL.run = 96 bytes (about 30 tokens of code) from every position of an item, and looks up the hash at
every 40th byte of a text. So it always finds 135 common bytes and never fewer than 96. STRICT always finds 55 bytes and
never fewer than 48, with five times as many lookups; it is meant for the solutions of small tasks, which share less. A
shorter item must be in the text completely, and an item of fewer than 32 bytes (such as a query) must be the whole text.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from codesage.errors import CodesageError

_WHOLE = 32  # bytes; a shorter item is only compared with whole texts
_LEAST = 12  # bytes; a shorter text, or one of fewer than three words, is a label or a name and does not count as an item
_COMMON = 8  # items of a set; a run that is in more of them is boilerplate (imports, a header) and is ignored
_DISTINCT = 12  # different byte values; a run with fewer is a ruler or a table and is ignored
_PAIR = 16  # bytes; if a text contains an item, one such block starts in the item's first 31 bytes, at a multiple of 16
_BATCH = 1 << 20  # bytes of items hashed at a time
_ODD = tuple(np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9))
_LOWER = bytes(range(256)).lower()
_SPACE = b" \t\n\r\f\v"
_HEAD = re.compile(  # imports and comments before the first line of code: any file may begin like this
    r"\A(?:[ \t]*(?:(?:package|import|using|use|require|from|#|//|<\?php|['\"]use strict)[^\n]*|/\*(?s:.*?)\*/[ \t]*)?\r?\n)+"
)
_END = b".!?:;"  # a sentence with such a mark at its end equals a query without it


class Reach(NamedTuple):
    """How long a common run must be, in bytes without white space. Both are multiples of 8, the bytes of a word."""

    run: int  # bytes that are hashed
    step: int  # bytes between two lookups in a text

    @property
    def certain(self) -> int:
        """The least length at which a common run is always found."""
        return self.run + self.step - 1


USUAL, STRICT = Reach(96, 40), Reach(48, 8)


class Benchmarks:
    """The hashed items of one or more benchmark sets. Picklable; about 30 MB for 15,000 items."""

    def __init__(self, items: Mapping[str, Sequence[str]], reach: Reach = USUAL) -> None:
        """`items` maps the name of a set to its texts. Texts of fewer than three words are left out."""
        self._reach = reach
        self._align = math.lcm(reach.step, _PAIR)  # texts begin at multiples of this, so the texts before do not matter
        self.sets = sorted(items)
        self._short: dict[bytes, int] = {}  # item shorter than reach.certain -> number of its set
        spans: dict[int, set[tuple[int, int]]] = defaultdict(set)  # hash of 16 bytes -> (offset in an item, its length)
        long, sets = [], []
        for number, name in enumerate(self.sets):
            for item in dict.fromkeys(map(_item, filter(_is_item, items[name]))):
                if len(item) >= reach.certain:
                    long.append(item)
                    sets.append(number)
                    continue
                self._short.setdefault(item, number)
                self._short.setdefault(item.rstrip(_END), number)
                if len(item) >= _WHOLE:
                    for offset, pair in enumerate(_pairs(_words(item[: 2 * _PAIR - 1], 1), 8).tolist()):
                        spans[pair].add((offset, len(item)))
        self._runs, self._owners = _runs_of(long, np.array(sets, np.int16), reach.run)
        self._pairs = np.array(sorted(spans), np.uint64)
        self._spans = [sorted(spans[pair]) for pair in sorted(spans)]
        self._run_filter, self._pair_filter = _filter(self._runs), _filter(self._pairs)

    def match(self, text: str) -> str:
        """The name of a set of which `text` contains an item, or ""."""
        return self.match_all([text])[0]

    def match_all(self, texts: Sequence[str]) -> list[str]:
        """`match` for each text, in one pass over all texts."""
        data = list(map(_normal, texts))
        numbers = [self._short.get(text.rstrip(_END)) if len(text) < _WHOLE else None for text in data]
        padded = [text + b"\n" * (self._align - len(text) % self._align) for text in data]  # items have no line breaks
        starts = np.cumsum([0, *map(len, padded)])
        for position, number in self._hits(b"".join(padded)):
            text = int(np.searchsorted(starts, position, "right")) - 1
            numbers[text] = number if numbers[text] is None else numbers[text]
        return ["" if number is None else self.sets[number] for number in numbers]

    def _hits(self, data: bytes) -> Iterator[tuple[int, int]]:
        """(position, number of the set) of each item that `data` contains, long items first."""
        pairs = _pairs(_words(data, 8), 1)
        places, positions = _find(self._runs, self._run_filter, _runs(pairs, 1, self._reach.step // 8, self._reach.run // 8))
        yield from zip((positions * self._reach.step).tolist(), self._owners[places].tolist(), strict=True)
        places, positions = _find(self._pairs, self._pair_filter, pairs[:: _PAIR // 8])
        for place, position in zip(places.tolist(), (positions * _PAIR).tolist(), strict=True):
            for offset, length in self._spans[place]:  # 16 bytes of the item are equal: compare the rest
                start = max(position - offset, 0)
                number = self._short.get(data[start : start + length])
                if number is not None:
                    yield start, number


def read_benchmarks(folder: Path | str, reach: Reach = USUAL) -> Benchmarks:
    """Read the texts of every .jsonl under `folder`: all strings of three or more words, both code and descriptions.

    A set is named after its subfolder, or after its file if that lies in `folder` itself. CodesageError when there is no
    such file or no text.
    """
    root, items = Path(folder), {}
    for file in sorted(root.rglob("*.jsonl")):
        place = file.relative_to(root)
        texts = items.setdefault(place.parts[0] if len(place.parts) > 1 else file.stem, [])
        for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
            try:
                texts += _strings(json.loads(line) if line.strip() else "")
            except (ValueError, RecursionError) as error:
                raise CodesageError(f"{file}:{number} is not JSON ({error}): expected JSON lines") from None
    if not any(map(_is_item, (text for texts in items.values() for text in texts))):
        raise CodesageError(f"{folder} has no .jsonl with code or sentences: there is nothing to exclude")
    return Benchmarks(items, reach)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def _is_item(text: str) -> bool:
    return len(text.split(maxsplit=2)) == 3 and len(_normal(text)) >= _LEAST


def _item(text: str) -> bytes:
    return _normal(_HEAD.sub("", text)) or _normal(text)


def _normal(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass").translate(_LOWER, _SPACE)


def _words(data: bytes, step: int) -> np.ndarray:
    """The eight bytes at every `step`-th position, as little-endian words."""
    return np.ndarray((len(data) - 8) // step + 1, np.dtype("<u8"), data, strides=(step,))


def _pairs(words: np.ndarray, step: int) -> np.ndarray:
    """The hash of every pair of words. The second word is `step` entries after the first."""
    return words[:-step] * _ODD[0] + words[step:]


def _runs(pairs: np.ndarray, step: int, stride: int, words: int) -> np.ndarray:
    """The hash of the `words` words from every `stride`-th position on. The next word is `step` entries after a word."""
    count = max(0, len(pairs) - (words - 2) * step)
    hashes = pairs[:count:stride].copy()
    for word in range(2, words, 2):
        hashes *= _ODD[1]
        hashes += pairs[word * step : word * step + count : stride]
    return hashes


def _runs_of(items: Sequence[bytes], sets: np.ndarray, run: int) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of the runs of items, sorted and without repetitions, and the set of each.

    Runs that are in more than _COMMON items of a set are left out.
    """
    starts = np.cumsum([0, *map(len, items)])
    cuts = [*np.flatnonzero(np.diff(starts[:-1] // _BATCH, prepend=-1)).tolist(), len(items)]
    parts = [_item_runs(items[first:end], first, run) for first, end in pairwise(cuts)]
    hashes, owners = map(np.concatenate, zip((np.empty(0, np.uint64), np.empty(0, np.int64)), *parts, strict=True))
    order = np.argsort(hashes, kind="stable")
    hashes, owners = hashes[order], owners[order]
    once = _changes(hashes, owners)
    hashes, sets = hashes[once], sets[owners[once]]
    first = np.flatnonzero(_changes(hashes, sets))
    first = first[np.diff(first, append=len(hashes)) <= _COMMON]
    first = first[_changes(hashes[first])]
    return hashes[first], sets[first]


def _item_runs(items: Sequence[bytes], number: int, run: int) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of runs with enough different bytes, and the number of each run's item. The first item is `number`."""
    sizes, data = [len(item) for item in items], b"".join(items)
    owners = np.repeat(np.arange(number, number + len(items)), sizes)
    places = np.flatnonzero((owners[: 1 - run] == owners[run - 1 :]) & (_distinct_bytes(data, run) >= _DISTINCT))
    return _runs(_pairs(_words(data, 1), 8), 8, 1, run // 8)[places], owners[places]


def _changes(*columns: np.ndarray) -> np.ndarray:
    """Whether each row differs from the one before, bool (n,)."""
    changed = np.ones(len(columns[0]), bool)
    changed[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return changed


def _distinct_bytes(data: bytes, run: int) -> np.ndarray:
    """The number of different values, modulo 64, among the `run` bytes from each position on."""
    seen = np.uint64(1) << (np.frombuffer(data, np.uint8) & np.uint8(63)).astype(np.uint64)
    for size in (1, 2, 4, 8):  # values in 2, 4, 8, 16 bytes
        seen = seen[:-size] | seen[size:]
    count = len(data) - run + 1
    return np.bitwise_count(np.bitwise_or.reduce([seen[first : first + count] for first in range(0, run, 16)]))


def _find(known: np.ndarray, filtered: np.ndarray, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the `hashes` that are in the sorted `known`: their places in `known`, and their indices in `hashes`."""
    slots = _slots(hashes, 8 * len(filtered))
    maybe = np.flatnonzero((filtered[slots >> 3] >> (slots & 7).astype(np.uint8)) & np.uint8(1))
    if not len(maybe) or not len(known):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    places = np.minimum(np.searchsorted(known, hashes[maybe]), len(known) - 1)
    present = known[places] == hashes[maybe]
    return places[present], maybe[present]


def _filter(hashes: np.ndarray) -> np.ndarray:
    """One bit for each value of a hash's upper bits: whether any of `hashes` has this value. At most one in 16 is set."""
    bits = np.zeros(16 << len(hashes).bit_length(), bool)
    bits[_slots(hashes, len(bits))] = True
    return np.packbits(bits, bitorder="little")


def _slots(hashes: np.ndarray, count: int) -> np.ndarray:
    return ((hashes * _ODD[1]) >> np.uint64(65 - count.bit_length())).view(np.int64)
