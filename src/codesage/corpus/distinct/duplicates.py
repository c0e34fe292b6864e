"""Equal and nearly equal texts: digests, MinHash signatures, and which rows of a corpus to keep.

In: texts (files, or bodies of functions). Out: a mask that keeps the first of what is nearly the same. Tokens are words
and single marks, so white space between them does not count; a text is the set of its token 5-grams, and nearly equal
means a high Jaccard similarity of these sets (Broder 1997). Signatures are MinHash where texts are short and fast
similarity sketches (Dahlgaard, Knudsen and Thorup 2017) where they are long: those hash a shingle once or twice, not once
an entry, and err less, since they draw without replacement: by 0.73 to 1.0 of MinHash's error on 4 to 500 shingles.
Everything is arithmetic modulo 2^64 in numpy on fixed constants: equal on every machine, whatever the seed of Python's
hash.

Rows with an equal band of their signatures are candidates (Indyk and Motwani 1998); each is verified on the whole
signature before it is dropped. Sorting finds the bands, not dicts: besides the signatures, two million rows take about
100 MB.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence

import numpy as np

THRESHOLD = 0.85  # agreement of two signatures from which on their texts count as nearly equal
PERMUTATIONS = 128  # standard error of the estimate at a similarity of 0.85: 0.03 at most
SHINGLE = 5  # tokens

_BATCH = 128_000  # bytes hashed at a time: its arrays stay in the cache of a core
_THROW_BITS = 1
_THROWS = 1 << _THROW_BITS  # more take as long as they save: a text of 300 shingles has filled its places in two
_EMPTY = np.uint32(0xFFFFFFFF)  # of a place
_TOGETHER = 32_768  # shingles
_COMPARED = 32_768  # pairs verified at a time
_ROUNDS = 16  # groups of unlike rows told apart within one bucket
_MIX = tuple(np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_WORD, _MARK = 1, 2
_KINDS = bytes(  # bytes of UTF-8 beyond ASCII count as letters; NUL, the border of a text, is a mark
    0 if byte in b" \t\n\r\f\v" else _WORD if byte >= 128 or chr(byte).isalnum() or chr(byte) == "_" else _MARK
    for byte in range(256)
)


def digest(text: str) -> bytes:
    """16 bytes that are equal for texts that differ in white space only."""
    return hashlib.blake2b(" ".join(text.split()).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def signatures(texts: Sequence[str], *, permutations: int = PERMUTATIONS) -> np.ndarray:
    """Signatures, uint32 (n, permutations): the share of equal entries of two rows estimates the Jaccard of their texts.

    A text shorter than a shingle is one shingle, closed by its ends: it equals only itself. Empty texts equal each other.
    """
    found, left = np.full((len(texts), permutations), _EMPTY), []
    for start, batch in _batches(texts):
        shingles, sizes, rows = _thrown(found[start : start + len(batch)], *_shingles(batch))
        left.append((shingles, sizes, rows + start))
    for shingles, sizes, rows in _together(left):
        found[rows] = np.where(found[rows] == _EMPTY, _least(shingles, sizes, permutations), found[rows])
    return found


def _thrown(found: np.ndarray, shingles: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Throw the shingles of texts, which lie end to end, into the places of their rows of `found`: the least stays.

    While a place is empty, the text throws again, under another hash. What has an empty place after _THROWS is the answer
    (shingles, sizes, rows): that place takes the least under a permutation of its own. So each place has one order of
    all shingles there can be, by throw and hash, and two texts of whatever sizes agree in it with the probability of
    their Jaccard.
    """
    places, rows = found.shape[1], np.arange(len(sizes))
    for throw, (multiply, add) in enumerate(zip(*_permutations(0, _THROWS), strict=True)):
        hashes = shingles * multiply + add
        at = hashes.astype(np.int64)
        at *= places
        at >>= 32  # the place is the hash's share of its range
        at += np.repeat(rows * places, sizes)
        hashes >>= _THROW_BITS  # an earlier throw comes first
        hashes |= np.uint32(throw << (32 - _THROW_BITS))
        np.minimum.at(found.reshape(-1), at, hashes)
        still = found[rows].max(axis=1, initial=0) == _EMPTY
        shingles, sizes, rows = shingles[np.repeat(still, sizes)], sizes[still], rows[still]
        if not len(rows):
            break
    return shingles, sizes, rows


def _together(parts: list[tuple[np.ndarray, ...]]) -> Iterator[tuple[np.ndarray, ...]]:
    """What is left of many batches put together, since permuting a few shingles takes as long as permuting thousands."""
    start, size = 0, 0
    for end, (shingles, *_) in enumerate(parts, start=1):
        size += len(shingles)
        if size >= _TOGETHER or (size and end == len(parts)):
            yield tuple(map(np.concatenate, zip(*parts[start:end], strict=True)))
            start, size = end, 0


def _least(shingles: np.ndarray, sizes: np.ndarray, permutations: int) -> np.ndarray:
    """The least hash of each text under each permutation (Broder 1997), uint32 (texts, permutations)."""
    firsts, permuted = np.cumsum(sizes) - sizes, np.empty_like(shingles)
    least = np.empty((permutations, len(sizes)), np.uint32)
    for row, (multiply, add) in enumerate(zip(*_permutations(_THROWS, permutations), strict=True)):
        np.multiply(shingles, multiply, out=permuted)
        np.add(permuted, add, out=permuted)
        np.minimum.reduceat(permuted, firsts, out=least[row])
    return least.T


def near_duplicates(
    signatures: np.ndarray, *, threshold: float = THRESHOLD, order: np.ndarray | None = None
) -> np.ndarray:  # fmt: skip
    """bool (n,): False where an earlier row agrees in at least `threshold` of its entries; the first one stays.

    `order` has the rows to compare, the earliest first, without a copy of them; default: all. The others stay.
    Of the pairs at the threshold 99.9 % are compared, and more above it. Where more than 16 groups of unlike rows share
    a band, the later groups are compared in the other bands only; so time grows as n log n. ValueError for a threshold
    outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}: expected more than 0 and at most 1")
    count, permutations = signatures.shape
    order = np.arange(count) if order is None else order
    keep = np.ones(count, bool)
    for band in bands(permutations, threshold=threshold):
        rows = order[keep[order]]  # what one band drops, the next need not sort
        rows, first = _buckets(rows, band_keys(signatures, band, rows))
        drop_repeats(signatures, rows, first, keep, threshold=threshold)
    return keep


def bands(permutations: int = PERMUTATIONS, *, threshold: float = THRESHOLD) -> list[slice]:
    """The entries of a signature that make up each band."""
    width = _width(threshold, permutations)
    return [slice(start, start + width) for start in range(0, permutations - width + 1, width)]


def band_keys(signatures: np.ndarray, band: slice, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
    """A hash of the entries of one band, uint64, of each of `rows`."""
    keys = np.zeros((), np.uint64)
    for column in range(band.start, band.stop):
        keys = (keys ^ signatures[rows, column]) * _MIX[0]
        keys ^= keys >> np.uint64(32)
    return keys


def drop_repeats(
    signatures: np.ndarray, rows: np.ndarray, first: np.ndarray, keep: np.ndarray, *, threshold: float = THRESHOLD
) -> None:
    """Clear `keep` of rows that repeat an earlier one of their bucket. Buckets lie end to end; `first` is where each starts.

    The rows of a bucket are compared to the first of it; then those that differ from it among themselves.
    """
    needed = math.ceil(threshold * signatures.shape[1])
    for _ in range(_ROUNDS):
        alone = first & np.append(first[1:], True)
        rows, first = rows[~alone], first[~alone]
        if not len(rows):
            return
        leaders = np.maximum.accumulate(np.where(first, np.arange(len(rows)), 0))
        others = np.flatnonzero(~first)
        near = _agreements(signatures, rows[others], rows[leaders[others]]) >= needed
        keep[rows[others[near]]] = False
        others, leaders = others[~near], leaders[others[~near]]
        rows, first = rows[others], np.diff(leaders, prepend=-1) != 0


def _buckets(rows: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those of `rows` that share a key, ordered by bucket, then as they came, and where each bucket starts.

    The key's upper bits and the position travel in one word, so that one plain sort orders both. Where keys agree in these
    bits only, those few are ordered again by the whole key.
    """
    bits = np.uint64(max(1, len(rows).bit_length()))
    words = (keys >> bits << bits) | np.arange(len(rows), dtype=np.uint64)
    words.sort()
    order = (words & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    words >>= bits
    equal = words[1:] == words[:-1]
    order = order[np.append(equal, False) | np.append(False, equal)] if len(order) else order
    found = keys[order]
    if (found[1:] < found[:-1]).any():
        again = np.argsort(found, kind="stable")
        order, found = order[again], found[again]
    first = np.ones(len(order), bool)
    first[1:] = found[1:] != found[:-1]
    return rows[order], first


def _agreements(signatures: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    found = np.empty(len(left), np.int64)
    for start in range(0, len(left), _COMPARED):
        part = slice(start, start + _COMPARED)
        found[part] = np.count_nonzero(signatures[left[part]] == signatures[right[part]], axis=1)
    return found


def _width(threshold: float, permutations: int) -> int:
    """Entries a band: the most with which 99.9 % of the pairs at the threshold have an equal band."""
    width = 1
    while width < permutations and (1 - threshold ** (width + 1)) ** (permutations // (width + 1)) <= 0.001:
        width += 1
    return width


def _permutations(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Odd factors and summands modulo 2^32, from a fixed sequence (splitmix64), not from a library's generator."""
    words = _mixed(np.arange(first + 1, first + count + 1, dtype=np.uint64) * _MIX[0])
    return (words >> np.uint64(32)).astype(np.uint32) | np.uint32(1), words.astype(np.uint32)


def _batches(texts: Sequence[str]) -> Iterator[tuple[int, list[bytes]]]:
    start, size, batch = 0, 0, []
    for text in texts:
        batch.append(text.encode("utf-8", "surrogatepass"))
        size += len(batch[-1])
        if size >= _BATCH:
            yield start, batch
            start, size, batch = start + len(batch), 0, []
    if batch:
        yield start, batch


def _shingles(batch: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the token 5-grams of all texts, uint32, end to end, and how many each text has.

    A NUL before a text and four behind it are tokens too: they anchor its ends, keep a shingle within its text, and
    give an empty text one shingle.
    """
    behind = b"\0" * (SHINGLE - 1)
    data = b"".join(b"\0" + text + behind for text in batch)
    borders = np.cumsum([0] + [len(text) + SHINGLE for text in batch])
    tokens, starts = _tokens(data)
    count = len(tokens) - SHINGLE + 1
    grams = tokens[:count].copy()
    for offset in range(1, SHINGLE):
        grams *= _MIX[2]
        grams += tokens[offset : offset + count]
    ends = np.append(np.searchsorted(starts, borders[1:-1]), len(tokens))  # in tokens, the four behind included
    inside = np.ones(len(tokens), bool)
    inside[(ends[:, None] - np.arange(1, SHINGLE)).ravel()] = False
    grams = grams[inside[:count]]
    grams ^= grams >> np.uint64(32)
    grams *= _MIX[0]
    grams >>= np.uint64(32)
    return grams.astype(np.uint32), np.diff(ends, prepend=0) - (SHINGLE - 1)


def _tokens(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """64-bit hashes of the tokens of `data` and their byte offsets.

    Eight bytes are read at once; of a token longer than 64 bytes, the first 64, the last 8 and the length count.
    """
    kinds = np.frombuffer(data.translate(_KINDS), np.uint8)
    word = np.zeros(len(data) + 2, np.uint8)  # 1 in a word; one place before the data and one behind it
    word[1:-1] = kinds == _WORD
    starts = np.flatnonzero(kinds > word[:-2])  # a mark (2), or the first of a word
    sizes = np.flatnonzero(kinds > word[2:]) + 1 - starts
    words = np.ndarray(len(data), np.dtype("<u8"), data + bytes(8), strides=(1,))
    beyond = np.maximum(8 - sizes, 0) << 3
    hashes = words[starts] << beyond.view(np.uint64)  # bits of what follows the token, out at the top
    long = np.flatnonzero(sizes > 8)
    hashes[long] = _mixed(hashes[long] + words[starts[long] + sizes[long] - 8] * _MIX[2] + sizes[long].astype(np.uint64))
    for offset in range(8, 64, 8):
        long = long[sizes[long] >= offset + 8]
        if not len(long):
            break
        hashes[long] = _mixed(hashes[long] + words[starts[long] + offset] * _MIX[2])
    return _mixed(hashes), starts


def _mixed(words: np.ndarray) -> np.ndarray:
    """`words`, overwritten, with every bit of a word spread over all of it (the finisher of splitmix64)."""
    for shift, odd in ((30, _MIX[1]), (27, _MIX[2])):
        words ^= words >> np.uint64(shift)
        words *= odd
    words ^= words >> np.uint64(31)
    return words
