"""Byte-level BPE: train and load tokenizers, and encode texts for the encoder. WordPiece is loaded too (encoder.bert).

In: texts. Out: lists of token ids, with the end token appended after truncation (paper appendix; no begin token). Ids are
laid out as in the published tokenizer (StarCoder's, 49,152 entries): `<|endoftext|>` is 0, and `<mask>` and `<pad>` are the
two ids after the vocabulary. Special tokens that occur in a source file are encoded as plain text.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from codesage.artifacts import MANIFEST, check_target, open_artifact, publish
from codesage.errors import CodesageError
from codesage.records import sound

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Bpe

END, MASK, PAD = "<|endoftext|>", "<mask>", "<pad>"
FILE = "tokenizer.json"
CASE_CHANGES = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})"  # parse|Json, JSON|Parser, but not UR|Ls
_SPACE, _LATER = "\u0120", "##"  # before a word in byte-level BPE, and before what is not the first of a word in WordPiece
_JOINED = 100  # words that are encoded in one text
_WITH_SPACE = 64  # characters of a token of WordPiece, with the white space before it, which gives no token
_DECIDES_IDS = ("added_tokens", "normalizer", "pre_tokenizer", "model")  # the parts of tokenizer.json that determine ids


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings for training a tokenizer."""

    vocab_size: int = 16_384  # rows of the embedding, special tokens included; the published one has 49,154
    min_frequency: int = 2  # rarer merges are not learned
    max_token_length: int = 24  # in characters; keeps rows of dashes and licence phrases out of the vocabulary


class Tokenizer:
    """A trained tokenizer: `encode` for whole texts, `encode_pieces` for deobfuscation."""

    def __init__(self, tokenizer: "Bpe", fingerprint: str = "") -> None:
        """`tokenizer`: from the tokenizers library, changed in place. `fingerprint`: if it is already known."""
        self._tokenizer = tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # "<mask>" in a source file is text
        if fingerprint:
            self.fingerprint = fingerprint
        self.end_id, self.mask_id, self.pad_id = (_special_id(tokenizer, token) for token in (END, MASK, PAD))
        self.vocab_size = tokenizer.get_vocab_size(with_added_tokens=True)
        vocabulary, word_pieces = tokenizer.get_vocab(with_added_tokens=False), type(tokenizer.model).__name__ == "WordPiece"
        self.longest_token = _WITH_SPACE if word_pieces else max(map(len, vocabulary))  # bytes
        mark = _LATER if word_pieces else _SPACE
        first = (identity for token, identity in vocabulary.items() if token.startswith(mark) != word_pieces)
        self._first_tokens = frozenset(first)  # of words behind a space

    def __reduce__(self) -> tuple[Callable[[str, str], "Tokenizer"], tuple[str, str]]:
        return _unpickled, (self.state(), self.fingerprint)  # the library does not pickle encode_special_tokens

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything that determines ids. It is equal for the trained tokenizer and all its exports.

        It leaves out what only wraps ids (post-processor, truncation, padding) or reads them (decoder), and the formatting of
        the file. It is computed on first use; search never uses it.
        """
        state = json.loads(self.state())
        decisive = {part: state.get(part) for part in _DECIDES_IDS}
        return sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def encode(self, texts: Sequence[str], *, max_tokens: int) -> list[list[int]]:
        """Ids of each text: at most `max_tokens`, including the final end token.

        Characters that `max_tokens` tokens cannot reach are cut before tokenising, so the cost does not grow with the text's
        length. ValueError when `max_tokens` is under 1.
        """
        if max_tokens < 1:
            raise ValueError(f"max_tokens is {max_tokens}, expected at least 1")
        reach = max_tokens * self.longest_token
        return [[*ids[: max_tokens - 1], self.end_id] for ids in self.encode_pieces([text[:reach] for text in texts])]

    def encode_pieces(self, pieces: Sequence[str]) -> list[list[int]]:
        """Ids of each piece by itself, with nothing appended: an identifier is tokenised without its context."""
        try:
            encodings = self._tokenizer.encode_batch_fast(pieces, add_special_tokens=False)
        except TypeError:  # the library refuses lone surrogates
            if not all(isinstance(piece, str) for piece in pieces):
                raise
            encodings = self._tokenizer.encode_batch_fast(list(map(sound, pieces)), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_words(self, words: Sequence[str]) -> list[list[int]]:
        """Ids of each word with a space before it, as `encode_pieces` gives them. Words of ASCII are encoded in texts of many.

        Such a text is parted where a token begins a word. If these are not as many as its words, each word is encoded alone.
        """
        plain, others = [], []
        for word in words:
            (plain if word.isascii() and word.isalnum() else others).append(f" {word}")
        ids_by_word = dict(zip(others, self.encode_pieces(others), strict=True))
        parts = [plain[start : start + _JOINED] for start in range(0, len(plain), _JOINED)]
        for some, ids in zip(parts, self.encode_pieces(list(map("".join, parts))), strict=True):
            starts = [place for place, token in enumerate(ids) if token in self._first_tokens]
            own = [ids[start:end] for start, end in pairwise([*starts, len(ids)])]
            ids_by_word.update(zip(some, own if len(own) == len(some) else self.encode_pieces(some), strict=True))
        return [ids_by_word[f" {word}"] for word in words]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids`, special tokens included."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=False)

    def state(self) -> str:
        """The tokenizer as the JSON of tokenizer.json."""
        return self._tokenizer.to_str()

    def save(self, folder: Path | str) -> None:
        """Write tokenizer.json into an existing folder, such as a model folder."""
        self._tokenizer.save(str(Path(folder) / FILE))


def train(texts: Iterable[str], out: Path | str, *, settings: Settings | None = None) -> Tokenizer:
    """Train byte-level BPE on `texts` and publish it at `out` (an artifact of kind "tokenizer").

    Each digit is a token and there is no prefix space, as in StarCoder's tokenizer. Raises CodesageError when there are no
    texts or the vocabulary is too small for the 256 bytes.
    """
    from tokenizers import Tokenizer as Bpe
    from tokenizers import decoders, models, pre_tokenizers, trainers

    settings = settings or Settings()
    if settings.vocab_size < 256 + 3:
        raise CodesageError(f"vocab_size is {settings.vocab_size}: byte-level BPE needs at least 259")
    check_target(out, "tokenizer")
    bpe = Bpe(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size - 2,  # <mask> and <pad> come after the vocabulary
        min_frequency=settings.min_frequency,
        max_token_length=settings.max_token_length,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    seen = 0

    def counted() -> Iterable[str]:
        nonlocal seen
        for text in texts:
            seen += 1
            yield text

    bpe.train_from_iterator(counted(), trainer)
    if not seen:
        raise CodesageError("no text to train a tokenizer on: the corpus is empty, build it from more sources")
    bpe.add_special_tokens([MASK, PAD])
    with publish(out, "tokenizer", settings=asdict(settings), facts={"texts": seen}) as folder:
        bpe.save(str(folder / FILE))
    return load(out)


def load(folder: Path | str) -> Tokenizer:
    """Load our tokenizer artifact, the tokenizer of a model folder, or a published tokenizer.

    A published folder holds tokenizer.json, or vocab.json with merges.txt. If `<mask>` and `<pad>` are missing, they are
    appended in this order, which gives them the published ids 49,152 and 49,153. Raises CodesageError for other folders.
    """
    from tokenizers import Tokenizer as Bpe

    folder = Path(folder)
    file = folder / FILE
    if not folder.is_dir():
        raise CodesageError(f"{folder}: no such folder: expected a tokenizer, train one with 'codesage tokenizer'")
    if _kind(folder) == "tokenizer":
        open_artifact(folder, "tokenizer")
    try:
        bpe = Bpe.from_file(str(file)) if file.is_file() else _from_vocabulary(folder)
    except CodesageError:
        raise
    except Exception as error:  # the library raises bare Exception for every malformed file
        raise CodesageError(f"{file} is not a tokenizer ({error}): copy it again from its source") from None
    for token in (END, MASK, PAD):
        if bpe.token_to_id(token) is None:
            bpe.add_special_tokens([token])
    return Tokenizer(bpe)


def _unpickled(state: str, fingerprint: str) -> Tokenizer:
    from tokenizers import Tokenizer as Bpe

    return Tokenizer(Bpe.from_str(state), fingerprint)


def _from_vocabulary(folder: Path) -> "Bpe":
    from tokenizers import Tokenizer as Bpe
    from tokenizers import decoders, models, pre_tokenizers

    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    if not (vocabulary.is_file() and merges.is_file()):
        raise CodesageError(f"{folder} holds neither {FILE} nor vocab.json with merges.txt: expected a tokenizer")
    bpe = Bpe(models.BPE.from_file(str(vocabulary), str(merges)))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    return bpe


def _kind(folder: Path) -> str:
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("kind", "")
    except (OSError, ValueError, AttributeError):
        return ""


def _special_id(tokenizer: "Bpe", token: str) -> int:
    identity = tokenizer.token_to_id(token)
    if identity is None:
        raise CodesageError(f"the tokenizer has no {token}: expected one trained or loaded by codesage")
    return identity
