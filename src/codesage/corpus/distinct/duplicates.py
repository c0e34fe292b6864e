"""Find equal and nearly equal texts: digests, MinHash signatures, and which rows of a corpus to keep.

In: texts (files, or bodies of functions). Out: a mask that keeps the first of nearly equal texts. Tokens are words and
single marks, so white space between them does not count. A text is the set of its token 5-grams (shingles). Texts are
nearly equal when the Jaccard similarity of these sets is high (Broder 1997). The signature of a short text is MinHash, and
that of a long text is a fast similarity sketch (Dahlgaard, Knudsen and Thorup 2017). A sketch hashes a shingle once or
twice, not once for each entry. Its error is smaller, since it samples without replacement: 0.73 to 1.0 times that of
MinHash on 4 to 500 shingles. All arithmetic is modulo 2^64 in numpy with fixed constants. So the result is equal on every
machine and does not depend on the seed of Python's hash.

Rows with an equal band in their signatures are candidates (Indyk and Motwani 1998). The whole signature of a candidate is
compared before it is dropped. Equal bands are found by sorting, not with dicts: besides the signatures, two million rows
take about 100 MB.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence

import numpy as np

THRESHOLD = 0.85  # texts are nearly equal when at least this share of their signatures agrees
PERMUTATIONS = 128  # entries of a signature; standard error of the estimate at a similarity of 0.85: at most 0.03
SHINGLE = 5  # tokens

_BATCH = 128_000  # bytes hashed at a time, so that the arrays fit into the cache of a core
_THROW_BITS = 1
_THROWS = 1 << _THROW_BITS  # more throws save no time: a text of 300 shingles has filled its places after two
_EMPTY = np.uint32(0xFFFFFFFF)  # value of an empty place
_TOGETHER = 32_768  # shingles permuted at a time
_COMPARED = 32_768  # pairs compared at a time
_ROUNDS = 16  # groups of different rows that are handled within one bucket
_MIX = tuple(np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_WORD, _MARK = 1, 2
_KINDS = bytes(  # UTF-8 bytes beyond ASCII count as letters; NUL, which separates texts, is a mark
    0 if byte in b" \t\n\r\f\v" else _WORD if byte >= 128 or chr(byte).isalnum() or chr(byte) == "_" else _MARK
    for byte in range(256)
)


def digest(text: str) -> bytes:
    """A digest of 16 bytes. It is equal for texts that differ only in white space."""
    return hashlib.blake2b(" ".join(text.split()).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def signatures(texts: Sequence[str], *, permutations: int = PERMUTATIONS) -> np.ndarray:
    """Signatures, uint32 (n, permutations).

    The share of equal entries in two rows estimates the Jaccard similarity of their texts. A text shorter than a shingle
    is a single shingle that includes its ends, so it equals only itself. Empty texts equal each other.
    """
    entries, left = np.full((len(texts), permutations), _EMPTY), []
    for start, batch in _batches(texts):
        shingles, sizes, rows = _throw(entries[start : start + len(batch)], *_shingles(batch))
        left.append((shingles, sizes, rows + start))
    for shingles, sizes, rows in _together(left):
        entries[rows] = np.where(entries[rows] == _EMPTY, _least(shingles, sizes, permutations), entries[rows])
    return entries


def _throw(entries: np.ndarray, shingles: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Throw the shingles of texts into the places of their rows of `entries`. Each place keeps the least hash.

    The shingles of all texts lie end to end. A text with an empty place throws again, with another hash. Returns (shingles,
    sizes, rows) of the texts that still have an empty place after _THROWS. The caller fills such a place with the least
    hash under a separate permutation. So each place has a fixed order of all possible shingles, by throw and hash. Two
    texts of any sizes agree in a place with a probability equal to their Jaccard similarity.
    """
    places, rows = entries.shape[1], np.arange(len(sizes))
    for throw, (multiply, add) in enumerate(zip(*_permutations(0, _THROWS), strict=True)):
        hashes = shingles * multiply + add
        at = hashes.astype(np.int64)
        at *= places
        at >>= 32  # the place is proportional to the hash
        at += np.repeat(rows * places, sizes)
        hashes >>= _THROW_BITS  # the upper bits hold the throw, so an earlier throw is less
        hashes |= np.uint32(throw << (32 - _THROW_BITS))
        np.minimum.at(entries.reshape(-1), at, hashes)
        still = entries[rows].max(axis=1, initial=0) == _EMPTY
        shingles, sizes, rows = shingles[np.repeat(still, sizes)], sizes[still], rows[still]
        if not len(rows):
            break
    return shingles, sizes, rows


def _together(parts: list[tuple[np.ndarray, ...]]) -> Iterator[tuple[np.ndarray, ...]]:
    """Combine what is left of many batches, since permuting a few shingles takes as long as permuting thousands."""
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


def near_duplicates(signatures: np.ndarray, *, threshold: float = THRESHOLD, order: np.ndarray | None = None) -> np.ndarray:
    """Which rows to keep, bool (n,): False where an earlier row agrees in at least `threshold` of the entries.

    `order` has the rows to compare, the earliest first; default: all rows. The other rows are kept. The signatures are not
    copied. Of the pairs at the threshold, 99.9 % are compared, and of those above it even more. If more than 16 groups of
    different rows share a band, the later groups are compared only in the other bands, so the time grows as n log n.
    ValueError for a threshold outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}: expected more than 0 and at most 1")
    count, permutations = signatures.shape
    order = np.arange(count) if order is None else order
    keep = np.ones(count, bool)
    for band in bands(permutations, threshold=threshold):
        rows = order[keep[order]]  # rows that a band has dropped need not be sorted for the next
        rows, first = _buckets(rows, band_keys(signatures, band, rows))
        drop_repeats(signatures, rows, first, keep, threshold=threshold)
    return keep


def bands(permutations: int = PERMUTATIONS, *, threshold: float = THRESHOLD) -> list[slice]:
    """The entries of a signature that make up each band."""
    width = _width(threshold, permutations)
    return [slice(start, start + width) for start in range(0, permutations - width + 1, width)]


def band_keys(signatures: np.ndarray, band: slice, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
    """A hash of the entries of one band for each of `rows`, uint64."""
    keys = np.zeros((), np.uint64)
    for column in range(band.start, band.stop):
        keys = (keys ^ signatures[rows, column]) * _MIX[0]
        keys ^= keys >> np.uint64(32)
    return keys


def drop_repeats(
    signatures: np.ndarray, rows: np.ndarray, first: np.ndarray, keep: np.ndarray, *, threshold: float = THRESHOLD
) -> None:
    """Set `keep` to False for rows that repeat an earlier row of their bucket.

    Buckets lie end to end, and `first` marks where each starts. The rows of a bucket are compared with its first row. Then
    the rows that differ from it are compared with each other in the same way.
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
    """The `rows` that share a key with another row, sorted by bucket and then by position, and where each bucket starts.

    The upper bits of the key and the position are packed into one word, so that a single sort orders both. Keys that agree
    only in these bits are sorted again by the whole key.
    """
    bits = np.uint64(max(1, len(rows).bit_length()))
    words = (keys >> bits << bits) | np.arange(len(rows), dtype=np.uint64)
    words.sort()
    order = (words & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    words >>= bits
    equal = words[1:] == words[:-1]
    order = order[np.append(equal, False) | np.append(False, equal)] if len(order) else order
    ordered = keys[order]
    if (ordered[1:] < ordered[:-1]).any():
        again = np.argsort(ordered, kind="stable")
        order, ordered = order[again], ordered[again]
    first = np.ones(len(order), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return rows[order], first


def _agreements(signatures: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    counts = np.empty(len(left), np.int64)
    for start in range(0, len(left), _COMPARED):
        part = slice(start, start + _COMPARED)
        counts[part] = np.count_nonzero(signatures[left[part]] == signatures[right[part]], axis=1)
    return counts


def _width(threshold: float, permutations: int) -> int:
    """The number of entries in a band: the largest with which 99.9 % of the pairs at the threshold have an equal band."""
    width = 1
    while width < permutations and (1 - threshold ** (width + 1)) ** (permutations // (width + 1)) <= 0.001:
        width += 1
    return width


def _permutations(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Odd factors and summands modulo 2^32. They come from a fixed sequence (splitmix64), not from a library's generator."""
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
    """The hashes of the token 5-grams of all texts, uint32, end to end, and the number of each text.

    One NUL before a text and four after it are tokens too. They mark the ends of the text, keep a shingle within its text,
    and give an empty text one shingle.
    """
    after = b"\0" * (SHINGLE - 1)
    data = b"".join(b"\0" + text + after for text in batch)
    borders = np.cumsum([0] + [len(text) + SHINGLE for text in batch])
    tokens, starts = _tokens(data)
    count = len(tokens) - SHINGLE + 1
    grams = tokens[:count].copy()
    for offset in range(1, SHINGLE):
        grams *= _MIX[2]
        grams += tokens[offset : offset + count]
    ends = np.append(np.searchsorted(starts, borders[1:-1]), len(tokens))  # in tokens, including the four NULs
    inside = np.ones(len(tokens), bool)
    inside[(ends[:, None] - np.arange(1, SHINGLE)).ravel()] = False
    grams = grams[inside[:count]]
    grams ^= grams >> np.uint64(32)
    grams *= _MIX[0]
    grams >>= np.uint64(32)
    return grams.astype(np.uint32), np.diff(ends, prepend=0) - (SHINGLE - 1)


def _tokens(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The 64-bit hashes of the tokens of `data`, and their byte offsets.

    Eight bytes are read at a time. For a token longer than 64 bytes, only the first 64 bytes, the last 8 and the length count.
    """
    kinds = np.frombuffer(data.translate(_KINDS), np.uint8)
    word = np.zeros(len(data) + 2, np.uint8)  # 1 for bytes of words; one extra place before the data and one after it
    word[1:-1] = kinds == _WORD
    starts = np.flatnonzero(kinds > word[:-2])  # a mark (2), or the first byte of a word
    sizes = np.flatnonzero(kinds > word[2:]) + 1 - starts
    words = np.ndarray(len(data), np.dtype("<u8"), data + bytes(8), strides=(1,))
    beyond = np.maximum(8 - sizes, 0) << 3
    hashes = words[starts] << beyond.view(np.uint64)  # shifts out the bits of what follows the token
    long = np.flatnonzero(sizes > 8)
    hashes[long] = _mixed(hashes[long] + words[starts[long] + sizes[long] - 8] * _MIX[2] + sizes[long].astype(np.uint64))
    for offset in range(8, 64, 8):
        long = long[sizes[long] >= offset + 8]
        if not len(long):
            break
        hashes[long] = _mixed(hashes[long] + words[starts[long] + offset] * _MIX[2])
    return _mixed(hashes), starts


def _mixed(words: np.ndarray) -> np.ndarray:
    """Mix `words` in place, so that every bit of a word affects all of its bits (the finisher of splitmix64)."""
    for shift, odd in ((30, _MIX[1]), (27, _MIX[2])):
        words ^= words >> np.uint64(shift)
        words *= odd
    words ^= words >> np.uint64(31)
    return words
