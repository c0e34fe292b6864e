"""Benchmark items kept out of a corpus: a text is a copy when it shares a long run of bytes with an item.

In: a folder of benchmark items (JSON lines), one subfolder a set. Out: a filter that names the set a text shares with.
White space and case do not count: texts are compared as bytes without either. Hashes of 96 bytes (about 30 tokens of
code) are taken at every 5th byte of an item and looked up at every 8th byte of a text. 5 and 8 have no common divisor,
so within 40 bytes in common one place is both: 135 bytes in common are always found, fewer than 96 never. An item
shorter than that has to lie in the text as a whole, and one of fewer than 32 bytes (a query, say) to be the text.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from codesage.errors import CodesageError

RUN = 96  # bytes without white space: twelve words of eight
CERTAIN = RUN + 5 * 8 - 1
_WHOLE = 32  # bytes; a shorter item is only compared to texts as a whole
_LEAST = 12  # bytes; what is shorter, or has fewer than three words, is a label or a name, no item
_COMMON = 8  # items of a set; a run in more of them is its frame (imports, a header), no item
_DISTINCT = 12  # byte values; a run of fewer is a ruler or a table
_ITEM_STEP, _TEXT_STEP = 5, 8
_ODD = tuple(np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_LOWER = bytes(range(256)).lower()
_SPACE = b" \t\n\r\f\v"
_HEAD = re.compile(  # imports and comments before the first line of code: any file may open like this
    r"\A(?:[ \t]*(?:(?:package|import|using|use|require|from|#|//|<\?php|['\"]use strict)[^\n]*|/\*(?s:.*?)\*/[ \t]*)?\r?\n)+"
)
_END = b".!?:;"  # a sentence with its mark equals a query without it


class Benchmarks:
    """The items of one or more benchmark sets, hashed; picklable, some 10 MB for 15,000 items."""

    def __init__(self, items: Mapping[str, Sequence[str]]) -> None:
        """`items`: name of a set to its texts. Texts of fewer than three words are left out."""
        self.sets = sorted(items)
        self._short: dict[bytes, int] = {}  # items below CERTAIN bytes: number of the set
        spans: dict[int, set[tuple[int, int]]] = defaultdict(set)  # hash of 16 bytes: where in an item, its length
        runs, owners = [], []
        for number, name in enumerate(self.sets):
            of_set = [np.empty(0, np.uint64)]
            for item in dict.fromkeys(map(_item, filter(_is_item, items[name]))):
                if len(item) >= CERTAIN:
                    of_set.append(_item_runs(item))
                    continue
                self._short.setdefault(item, number)
                self._short.setdefault(item.rstrip(_END), number)
                if len(item) >= _WHOLE:
                    for offset, pair in enumerate(_pairs(_words(item, 1), 8)[:_TEXT_STEP].tolist()):
                        spans[pair].add((offset, len(item)))
            found, counts = np.unique(np.concatenate(of_set), return_counts=True)
            runs.append(found[counts <= _COMMON])
            owners.append(np.full(len(runs[-1]), number, np.int16))
        self._runs, first = np.unique(np.concatenate([np.empty(0, np.uint64), *runs]), return_index=True)
        self._owners = np.concatenate([np.empty(0, np.int16), *owners])[first]
        self._pairs = np.array(sorted(spans), np.uint64)
        self._spans = [sorted(spans[pair]) for pair in sorted(spans)]
        self._run_filter, self._pair_filter = _filter(self._runs), _filter(self._pairs)

    def match(self, text: str) -> str:
        """Name of a set that `text` shares an item with, or ""."""
        data = _normal(text)
        number = self._equal(data) if len(data) < _WHOLE else self._held(data)
        return "" if number is None else self.sets[number]

    def match_all(self, texts: Sequence[str]) -> list[str]:
        """`match` of each text, in one pass where none holds an item: many short texts cost what one long one does."""
        data = list(map(_normal, texts))
        if self._held(b"\n".join(data)) is not None:
            return list(map(self.match, texts))
        numbers = [self._equal(text) if len(text) < _WHOLE else None for text in data]  # nothing crosses a line break
        return ["" if number is None else self.sets[number] for number in numbers]

    def _equal(self, data: bytes) -> int | None:
        return self._short.get(data.rstrip(_END))

    def _held(self, data: bytes) -> int | None:
        pairs = _pairs(_words(data, _TEXT_STEP), 1)
        number = self._long(_runs(pairs, 1))
        return self._whole(data, pairs) if number is None else number

    def contain(self, text: str) -> bool:
        """Whether `text` shares an item with any set."""
        return self.match(text) != ""

    def _long(self, runs: np.ndarray) -> int | None:
        places, _ = _find(self._runs, self._run_filter, runs)
        return int(self._owners[places[0]]) if len(places) else None

    def _whole(self, data: bytes, pairs: np.ndarray) -> int | None:
        """An item that lies in `data` as a whole: its length is known from 16 of its bytes, the rest is compared."""
        places, positions = _find(self._pairs, self._pair_filter, pairs)
        for place, position in zip(places.tolist(), (positions * _TEXT_STEP).tolist(), strict=True):
            for offset, length in self._spans[place]:
                start = max(position - offset, 0)
                number = self._short.get(data[start : start + length])
                if number is not None:
                    return number
        return None


def read_benchmarks(folder: Path | str) -> Benchmarks:
    """Read the texts of every .jsonl under `folder`: all strings of three words and more, code and descriptions alike.

    A set is named by its folder, or by its file where that lies in `folder` itself. CodesageError when there is none or
    it holds no text.
    """
    root, items = Path(folder), {}
    for file in sorted(root.rglob("*.jsonl")):
        place = file.relative_to(root)
        texts = items.setdefault(place.parts[0] if len(place.parts) > 1 else file.stem, [])
        for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
            try:
                texts += _strings(json.loads(line) if line.strip() else "")
            except (ValueError, RecursionError) as error:
                raise CodesageError(f"{file}:{number} is no JSON ({error}): expected JSON lines") from None
    if not any(map(_is_item, (text for texts in items.values() for text in texts))):
        raise CodesageError(f"{folder} holds no .jsonl with code or sentences: nothing to exclude")
    return Benchmarks(items)


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
    """Hash of every two words; the second is found `step` entries behind the first."""
    return words[:-step] * _ODD[0] + words[step:]


def _runs(pairs: np.ndarray, step: int) -> np.ndarray:
    """Hash of every twelve words, from those of two: of four, of eight, then of eight and four."""
    if len(pairs) <= 10 * step:
        return np.empty(0, np.uint64)
    fours = pairs[: -2 * step] * _ODD[1] + pairs[2 * step :]
    eights = fours[: -4 * step] * _ODD[2] + fours[4 * step :]
    return (eights[: -4 * step] ^ (eights[: -4 * step] >> np.uint64(32))) * _ODD[0] + fours[8 * step :]


def _item_runs(item: bytes) -> np.ndarray:
    """Hashes of the runs of an item that say something, each once."""
    bits = np.uint64(1) << (np.frombuffer(item, np.uint8) & np.uint8(63)).astype(np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(bits, RUN)[::_ITEM_STEP]
    varied = np.bitwise_count(np.bitwise_or.reduce(windows, axis=1)) >= _DISTINCT
    return np.unique(_runs(_pairs(_words(item, 1), 8), 8)[::_ITEM_STEP][varied])


def _find(known: np.ndarray, filtered: np.ndarray, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places in the sorted `known` of those `hashes` that it holds, and which these are."""
    slots = _slots(hashes, 8 * len(filtered))
    maybe = np.flatnonzero((filtered[slots >> 3] >> (slots & 7).astype(np.uint8)) & np.uint8(1))
    if not len(maybe) or not len(known):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    places = np.minimum(np.searchsorted(known, hashes[maybe]), len(known) - 1)
    held = known[places] == hashes[maybe]
    return places[held], maybe[held]


def _filter(hashes: np.ndarray) -> np.ndarray:
    """A bit for each value of a hash's upper bits: whether any of `hashes` has it. At most one in 16 is set."""
    bits = np.zeros(16 << len(hashes).bit_length(), bool)
    bits[_slots(hashes, len(bits))] = True
    return np.packbits(bits, bitorder="little")


def _slots(hashes: np.ndarray, count: int) -> np.ndarray:
    return ((hashes * _ODD[1]) >> np.uint64(65 - count.bit_length())).view(np.int64)
