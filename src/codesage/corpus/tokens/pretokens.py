"""Texts to token ids by way of their words: each distinct word is tokenised once.

Byte-level BPE never merges across the borders that its pre-tokenizer draws (GPT-2's pattern, every digit alone), and WordPiece
never joins words that BERT's pre-tokenizer separates (white space, punctuation). So a text gives the ids of its words, one
behind the other. Words repeat thousands of times in code: one pass of a regular expression and a dictionary is about ten
times as fast as the library on whole texts, and gives the same ids. A run of characters with a non-ASCII one in it is left
whole, to the library; so is a text with exotic white space, and every text of a tokenizer that splits in another way.
"""

import json
import re
from array import array
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from codesage.corpus.tokens.ragged import spans
from codesage.tokenizer import CASE_CHANGES, Tokenizer

_WORD = (
    r"[0-9]|'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[^\t-\r 0-9A-Za-z]+"
    r"|[\t-\r ]+(?=[0-9]|\Z)|[\t-\r ]+(?![^\t-\r ])|[\t-\r ]+"
)  # in ASCII; [\t-\r ] is its white space
_ASCII = re.compile(_WORD).findall
_MIXED = re.compile(r"[\t-\r ]*[^\t-\r \x80-\U0010ffff]*[\x80-\U0010ffff][^\t-\r ]*|" + _WORD).findall
_EXOTIC = re.compile("[\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]").search
_SPLITS = [{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]
_BERT_WORD = r"[0-9A-Za-z]+|[!-/:-@\[-`{-~]"
_BERT = re.compile(_BERT_WORD).findall
_BERT_MIXED = re.compile(r"[!-~]*+[^\t\n\r -~][^\t\n\r ]*|" + _BERT_WORD).findall  # control characters join words
_UNPRINTABLE = re.compile(r"[^\t\n\r -~]").search
_KEPT = 400_000  # words; bounds the memory of a worker


class Pretokens:
    """A tokenizer that remembers words. What `encode` returns does not depend on what is remembered."""

    def __init__(self, tokenizer: Tokenizer, *, dtype: np.dtype) -> None:
        self._tokenizer, self._dtype = tokenizer, dtype
        self._words = _splitter(tokenizer)
        self._forget()

    def _forget(self) -> None:
        self._rows: dict[str, int] = {}  # word to row of the two arrays below
        self._ids, self._lengths = array("I"), array("I")

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts end to end (dtype), and the number of each text's, int64; no end token.

        The texts must be free of lone surrogates.
        """
        words = [self._words(text) for text in texts]
        self._learn(set(chain.from_iterable(words)) - self._rows.keys())
        counts = np.fromiter(map(len, words), np.int64, len(words))
        row_W = np.fromiter(map(self._rows.__getitem__, chain.from_iterable(words)), np.int64, int(counts.sum()))
        length_R = np.frombuffer(self._lengths, np.uint32).astype(np.int64)
        start_R = np.cumsum(length_R) - length_R
        length_W = length_R[row_W]
        ids = np.frombuffer(self._ids, np.uint32).astype(self._dtype)[spans(start_R[row_W], length_W)]
        lengths = np.diff(np.concatenate(([0], np.cumsum(length_W)))[np.concatenate(([0], np.cumsum(counts)))])
        del length_R, start_R
        if len(self._rows) > _KEPT:
            self._forget()
        return ids, lengths

    def _learn(self, words: set[str]) -> None:
        fresh = list(words)
        for word, ids in zip(fresh, self._tokenizer.encode_pieces(fresh), strict=True):
            self._rows[word] = len(self._lengths)
            self._lengths.append(len(ids))
            self._ids.extend(ids)


def _splitter(tokenizer: Tokenizer) -> Callable[[str], list[str]]:
    """The function that cuts a text into the words of a tokenizer."""
    state = json.loads(tokenizer.state())
    if not all(token["special"] for token in state["added_tokens"]):  # others are cut out before the splits
        return _whole
    splitter = state["pre_tokenizer"] or {}
    if splitter.get("type") == "BertPreTokenizer" and all(map(_keeps_words, _steps(state["normalizer"], "normalizers"))):
        return _bert_words if state["model"].get("type") == "WordPiece" else _whole
    steps = [{key: one.get(key) for key in want} for one, want in zip(_steps(splitter, "pretokenizers"), _SPLITS, strict=False)]
    same = splitter.get("type") == "Sequence" and len(splitter["pretokenizers"]) == len(_SPLITS) and steps == _SPLITS
    return _byte_level_words if same and state["normalizer"] is None else _whole


def _steps(part: dict | None, name: str) -> list[dict]:
    """The steps of a part of tokenizer.json, which has one, several under `name`, or none."""
    return part.get(name, [part]) if part else []


def _keeps_words(normalizer: dict) -> bool:
    """Whether a normalizer changes each word by itself."""
    splits_case = normalizer.get("pattern") == {"Regex": CASE_CHANGES} and normalizer.get("content") == " "
    return normalizer["type"] == "BertNormalizer" or (normalizer["type"] == "Replace" and splits_case)


def _whole(text: str) -> list[str]:
    return [text]


def _byte_level_words(text: str) -> list[str]:
    if text.isascii():
        return _ASCII(text)
    return [text] if _EXOTIC(text) else _MIXED(text)


def _bert_words(text: str) -> list[str]:
    return _BERT_MIXED(text) if _UNPRINTABLE(text) else _BERT(text)
