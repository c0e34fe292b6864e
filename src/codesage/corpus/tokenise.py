"""Records to arrays of token ids: the work of one process when a corpus is tokenised.

In: Documents and Pairs, some at a time. Out: named columns, flat ids beside the length of each item. A document gives
two streams. The plain one is its text tokenised as a whole. The named one is for deobfuscation: every identifier is
tokenised on its own (paper section 3.1), and so is the text between two of them (a space before an identifier stays
with the text before it); `names` says which name of the file each token is a part of. It is empty where there is
nothing to hide: no grammar, a parse that was refused, a file without names of its own. Both end with the end token.
"""

import hashlib
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from codesage import syntax
from codesage.languages import LANGUAGES
from codesage.records import Document, Pair
from codesage.tokenizer import Tokenizer

Columns = dict[str, np.ndarray | list[str]]
SIDES: dict[str, Callable[[Pair], str]] = {
    "text": lambda pair: pair.text,
    "code": lambda pair: pair.code,
    "body": lambda pair: pair.bare_body,
    "description": lambda pair: getattr(pair, "description", ""),
}
MOST_NAMES = 65_535  # names of one file that are told apart: uint16; further ones are never hidden
_SHORT = 48  # bytes of a piece worth keeping: identifiers and what stands between them come thousands of times
_KEPT_PIECES = 200_000  # bounds the memory of a worker


class Tokeniser:
    """A tokenizer that remembers the ids of short pieces. What it returns does not depend on what it remembers."""

    def __init__(self, tokenizer: Tokenizer, *, limits: dict[str, int]) -> None:
        self._tokenizer = tokenizer
        self._limits = limits  # tokens kept of each side of a pair
        self._known: dict[bytes, list[int]] = {}
        self._dtype = id_type(tokenizer.vocab_size)

    def documents(self, documents: Sequence[Document]) -> Columns:
        """Columns plain.ids, plain.lengths, named.ids, named.lengths, named.names (uint16) and language (names)."""
        end = self._tokenizer.end_id
        plain = [[*ids, end] for ids in self._tokenizer.encode_pieces([_sound(d.text) for d in documents])]
        named_ids, named_lengths, names = self._named(documents)
        return {
            "plain.ids": self._flat(plain),
            "plain.lengths": _lengths(plain),
            "named.ids": named_ids,
            "named.lengths": named_lengths,
            "named.names": names,
            "language": [document.language for document in documents],
        }

    def pairs(self, pairs: Sequence[Pair]) -> Columns:
        """Columns SIDE.ids and SIDE.lengths (cut, no end token), text.key and body.key (uint64), language and kind.

        Equal keys are texts, or bodies, that are equal but for case and white space.
        """
        columns: Columns = {}
        for side, side_of in SIDES.items():
            texts = [_sound(side_of(pair)) for pair in pairs]
            ids = self._tokenizer.encode_heads(texts, max_tokens=self._limits[side])
            columns |= {f"{side}.ids": self._flat(ids), f"{side}.lengths": _lengths(ids)}
            if side in ("text", "body"):
                columns[f"{side}.key"] = np.array([_key(text) for text in texts], "<u8")
        columns["language"] = [pair.language for pair in pairs]
        columns["kind"] = [pair.kind for pair in pairs]
        return columns

    def _named(self, documents: Sequence[Document]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pieces: list[bytes] = []
        numbers: list[int] = []
        counts = []
        for document in documents:
            before = len(pieces)
            pieces_of(document, pieces, numbers)
            counts.append(len(pieces) - before)
        ids_T, length_P = self._encoded(pieces)
        names_T = np.repeat(np.asarray(numbers, "<u2"), length_P)
        border = np.concatenate(([0], np.cumsum(length_P)))
        ends = border[np.cumsum(counts, dtype=np.int64)]
        some = np.asarray(counts) > 0  # only these get an end token
        lengths = np.diff(ends, prepend=0) + some
        ids_T = np.insert(ids_T, ends[some], self._tokenizer.end_id)
        return ids_T, lengths, np.insert(names_T, ends[some], 0)

    def _encoded(self, pieces: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all pieces, flat, and the number of each piece's: every distinct piece is tokenised once."""
        distinct: dict[bytes, int] = {}
        which_P = np.fromiter((distinct.setdefault(piece, len(distinct)) for piece in pieces), np.int64, len(pieces))
        known = self._known
        fresh = [piece for piece in distinct if piece not in known]
        known.update(zip(fresh, self._tokenizer.encode_pieces([p.decode("utf-8", "replace") for p in fresh]), strict=True))
        ids = [known[piece] for piece in distinct]
        for piece in fresh:
            if len(piece) > _SHORT:
                del known[piece]
        if len(known) > _KEPT_PIECES:
            known.clear()
        flat, length_D = self._flat(ids), _lengths(ids)
        start_D = np.cumsum(length_D) - length_D
        return flat[spans(start_D[which_P], length_D[which_P])], length_D[which_P]

    def _flat(self, ids: list[list[int]]) -> np.ndarray:
        return np.fromiter(chain.from_iterable(ids), self._dtype, sum(map(len, ids)))


def pieces_of(document: Document, pieces: list[bytes], numbers: list[int]) -> None:
    """Append the pieces of a document, UTF-8, and the number of the name each one is (from 1 on; 0: no name).

    Joined, the pieces are the text. Nothing is appended where nothing can be hidden.
    """
    if document.language not in LANGUAGES:
        return
    try:
        tree = syntax.parse(document.text, document.language, tsx=document.path.endswith(".tsx"))
    except syntax.ParseRefused:
        return  # deeper or larger than a parser may see: random masking needs no parse
    source, end, seen = tree.source, 0, {}
    found = syntax.identifiers(tree)
    for identifier in found:
        if identifier.start_byte > end:
            pieces.append(source[end : identifier.start_byte])
            numbers.append(0)
        end = identifier.end_byte
        pieces.append(source[identifier.start_byte : end])
        number = seen.setdefault(identifier.name, len(seen) + 1)
        numbers.append(number if number <= MOST_NAMES else 0)
    if found and end < len(source):
        pieces.append(source[end:])
        numbers.append(0)


def spans(start_B: np.ndarray, length_B: np.ndarray) -> np.ndarray:
    """start, start + 1, ..., start + length - 1 of each row, one behind the other: int64 (sum of lengths,)."""
    before_B = np.cumsum(length_B) - length_B
    return np.arange(int(length_B.sum())) + np.repeat(start_B - before_B, length_B)


def id_type(vocab_size: int) -> np.dtype:
    """Little-endian uint16, or uint32 for vocabularies that pass 65,535 entries."""
    return np.dtype("<u2" if vocab_size <= 65_536 else "<u4")


def _lengths(ids: list[list[int]]) -> np.ndarray:
    return np.fromiter(map(len, ids), np.int64, len(ids))


def _sound(text: str) -> str:
    return text.encode("utf-8", "replace").decode()  # lone surrogates, which the tokenizer refuses


def _key(text: str) -> int:
    digest = hashlib.blake2b(" ".join(text.lower().split()).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
