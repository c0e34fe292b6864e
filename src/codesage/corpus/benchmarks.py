"""Benchmark items kept out of a corpus: exact matches of short items, shared n-grams of longer ones.

In: a folder of benchmark items (JSON lines). Out: a filter that says whether a text shares one with them. Tokens are
words and marks, so white space does not hide a copy; n-grams are 64-bit rolling hashes, computed in numpy.
"""

import json
import re
import zlib
from pathlib import Path

import numpy as np

from codesage.errors import CodesageError

NGRAM = 32  # tokens; at this length a match is a copy
_FIELDS = ("code", "java", "csharp")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so it has an inverse modulo 2^64
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))


class Benchmarks:
    """Hashes of the benchmark items: every 32-gram of the long ones, the whole of the short ones."""

    def __init__(self, items: list[str]) -> None:
        grams, short = [np.empty(0, np.uint64)], set()
        for item in items:
            hashed = _hashes(item)
            if len(hashed) >= NGRAM:
                grams.append(_windows(hashed))
            elif len(hashed) >= 8:  # shorter ones are phrases of any program
                short.add(hashed.tobytes())
        self._grams, self._short = np.unique(np.concatenate(grams)), short

    def contain(self, text: str) -> bool:
        """Whether `text` shares a 32-gram with an item, or equals a shorter one."""
        hashed = _hashes(text)
        if len(hashed) < NGRAM:
            return hashed.tobytes() in self._short
        windows = _windows(hashed)
        at = np.searchsorted(self._grams, windows)
        return bool((self._grams[np.minimum(at, len(self._grams) - 1)] == windows).any()) if len(self._grams) else False


def read_benchmarks(folder: Path | str) -> Benchmarks:
    """Read every .jsonl under `folder`; CodesageError when there is none or it holds no code."""
    items = []
    for file in sorted(Path(folder).rglob("*.jsonl")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                row = json.loads(line)
                items += [row[field] for field in _FIELDS if isinstance(row.get(field), str)]
            except (ValueError, AttributeError) as error:
                raise CodesageError(f"{file}:{number} is no JSON object ({error}): expected JSON lines") from None
    if not items:
        raise CodesageError(f"{folder} holds no .jsonl with one of the fields {', '.join(_FIELDS)}: nothing to exclude")
    return Benchmarks(items)


def _hashes(text: str) -> np.ndarray:
    return np.fromiter((zlib.crc32(token.encode()) for token in _TOKEN.findall(text)), np.uint64)


def _windows(hashed: np.ndarray) -> np.ndarray:
    """Polynomial hash of every window of NGRAM tokens, modulo 2^64: prefix sums, then divided by the offset."""
    count = len(hashed)
    powers = np.cumprod(np.concatenate(([np.uint64(1)], np.full(count - 1, _BASE))), dtype=np.uint64)
    sums = np.concatenate(([np.uint64(0)], np.cumsum((hashed + np.uint64(1)) * powers, dtype=np.uint64)))
    back = np.cumprod(np.concatenate(([np.uint64(1)], np.full(count - NGRAM, _INVERSE))), dtype=np.uint64)
    return (sums[NGRAM:] - sums[:-NGRAM]) * back
