"""Records to arrays of token ids: the work of one process when a corpus is tokenised.

In: Documents and Pairs, some at a time. Out: named columns, flat ids beside the length of each item. A document gives
two streams. The plain one is its text tokenised as a whole. The named one is for deobfuscation: every identifier is
tokenised on its own (paper section 3.1), and so is the text between two of them (a space before an identifier stays
with the text before it, or goes with the identifier: Naming); `names` says which name of the file each token is a part
of. It is empty where there is nothing to hide: no grammar, a parse that was refused, a file without names of its own.
Both end with the end token.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from codesage import syntax
from codesage.corpus.tokens.pretokens import Pretokens
from codesage.corpus.tokens.ragged import spans
from codesage.languages import LANGUAGES
from codesage.records import Document, Pair, header_of, sound
from codesage.tokenizer import Tokenizer

Columns = dict[str, np.ndarray | list[str]]
DEFINITIONS = ("function", "class", "test")  # kinds whose `name` is that of the code; a sample's file may be named as its title
SIDES: dict[str, Callable[[Pair], str]] = {
    "text": lambda pair: pair.text,
    "code": lambda pair: pair.code,
    "body": lambda pair: pair.bare_body,
    "description": lambda pair: pair.description,
    "header": lambda pair: header_of(pair.path, pair.name) if pair.kind in DEFINITIONS else "",
}
_SPACE = ord(" ")
MOST_NAMES = 65_535  # names of one file that are told apart: uint16; further ones are never hidden


@dataclass(frozen=True, slots=True)
class Naming:
    """What the named stream takes for an identifier. The paper's figure 8 hides `self` and `__init__`; we keep both."""

    hide_self: bool = False  # `self`, `cls` and PHP's `$this` too
    hide_special: bool = False  # the methods that a language calls by itself too, as `__init__` and `constructor`
    with_space: bool = False  # the space before an identifier is a part of it, as it is in the plain stream


class Tokeniser:
    """A tokenizer, how many tokens are kept of each side of a pair, and what is an identifier."""

    def __init__(self, tokenizer: Tokenizer, *, limits: dict[str, int], naming: Naming) -> None:
        self._limits, self._naming, self._end_id = limits, naming, tokenizer.end_id
        self._pretokens = Pretokens(tokenizer, dtype=id_type(tokenizer.vocab_size))
        self._reach = tokenizer.longest_token

    def documents(self, documents: Sequence[Document]) -> Columns:
        """Columns plain.ids, plain.lengths, named.ids, named.lengths, named.names (uint16) and language (names)."""
        ids, lengths = self._pretokens.encode([sound(document.text) for document in documents])
        named_ids, named_lengths, names = self._named(documents)
        return {
            "plain.ids": np.insert(ids, np.cumsum(lengths), self._end_id),
            "plain.lengths": lengths + 1,
            "named.ids": named_ids,
            "named.lengths": named_lengths,
            "named.names": names,
            "language": [document.language for document in documents],
        }

    def pairs(self, pairs: Sequence[Pair]) -> Columns:
        """Columns SIDE.ids and SIDE.lengths (cut, no end token), language, kind and source (names), and keys (uint64).

        Equal text.key or body.key are texts, or bodies, that are equal but for case and white space; a pair without a body
        has the body.key of its code. Equal group.key are members of one group; 0: of none.
        """
        columns: Columns = {}
        for side, side_of in SIDES.items():
            texts = [sound(side_of(pair)) for pair in pairs]
            most = self._limits[side]
            reach = (most + 1) * self._reach  # no further can `most` tokens reach, whatever stands there
            ids, lengths = self._pretokens.encode([text[:reach] for text in texts])
            kept = np.minimum(lengths, most)
            columns |= {f"{side}.ids": ids[spans(np.cumsum(lengths) - lengths, kept)], f"{side}.lengths": kept}
            if side == "text":
                columns["text.key"] = np.array([_key(text) for text in texts], "<u8")
        columns["body.key"] = np.array([_key(pair.bare_body or pair.code) for pair in pairs], "<u8")
        columns["group.key"] = np.array([_digest(pair.group) if pair.group else 0 for pair in pairs], "<u8")
        columns["language"] = [pair.language for pair in pairs]
        columns["kind"] = [pair.kind for pair in pairs]
        columns["source"] = [pair.package for pair in pairs]
        return columns

    def _named(self, documents: Sequence[Document]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pieces: list[bytes] = []
        numbers: list[int] = []
        ends = [0]
        for document in documents:
            pieces_of(document, pieces, numbers, self._naming)
            ends.append(len(pieces))
        distinct: dict[bytes, int] = {}
        which_P = np.fromiter((distinct.setdefault(piece, len(distinct)) for piece in pieces), np.int64, len(pieces))
        ids, length_D = self._pretokens.encode([piece.decode("utf-8", "replace") for piece in distinct])
        start_P, length_P = (np.cumsum(length_D) - length_D)[which_P], length_D[which_P]
        end_D = np.concatenate(([0], np.cumsum(length_P)))[ends]
        some = np.diff(ends) > 0  # only these documents get an end token
        return (
            np.insert(ids[spans(start_P, length_P)], end_D[1:][some], self._end_id),
            np.diff(end_D) + some,
            np.insert(np.repeat(np.asarray(numbers, "<u2"), length_P), end_D[1:][some], 0),
        )


def pieces_of(document: Document, pieces: list[bytes], numbers: list[int], naming: Naming) -> None:
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
    identifiers = syntax.identifiers(tree, hide_self=naming.hide_self, hide_special=naming.hide_special)
    for identifier in identifiers:
        start = identifier.start_byte
        if naming.with_space and start > end and source[start - 1] == _SPACE:
            start -= 1
        if start > end:
            pieces.append(source[end:start])
            numbers.append(0)
        end = identifier.end_byte
        pieces.append(source[start:end])
        number = seen.setdefault(identifier.name, len(seen) + 1)
        numbers.append(number if number <= MOST_NAMES else 0)
    if identifiers and end < len(source):
        pieces.append(source[end:])
        numbers.append(0)


def id_type(vocab_size: int) -> np.dtype:
    """Little-endian uint16, or uint32 for vocabularies that pass 65,535 entries."""
    return np.dtype("<u2" if vocab_size <= 65_536 else "<u4")


def _key(text: str) -> int:
    return _digest(" ".join(text.lower().split()))


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")
