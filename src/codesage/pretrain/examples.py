"""Documents to packed batches of Stage I examples: one objective per example, windows, packing.

In: Documents, in any number, and a tokenizer. Out: batches of token ids laid end to end, with what is hidden in them.
Order and masks are pure functions of (seed, epoch, document): an epoch is a permutation of the documents; each
document takes deobfuscation or random masking by a coin, is tokenised for it and cut into windows of `max_tokens`;
windows are shuffled within a buffer and packed into batches, sorted by length. Positions restart in each window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from codesage import syntax
from codesage.pretrain.masking import deobfuscate, random_mask
from codesage.records import Document
from codesage.tokenizer import Tokenizer

OBJECTIVES = ("parallel", "masking", "deobfuscation")
_SHORTEST = 8  # tokens; a window's remainder under this teaches nothing


@dataclass(frozen=True, slots=True)
class Settings:
    """What an example is. Published: mask_rate, max_tokens 1024, the coin of 1/2; the rest is our choice."""

    objective: str = "parallel"  # "parallel": a coin per example; or one of the two alone
    mask_rate: float = 0.15
    deobfuscation_share: float = 1.0  # cap on the share of tokens deobfuscation hides; 1: no cap
    max_tokens: int = 1024  # of a window
    batch_tokens: int = 2048 * 1024
    buffer_windows: int = 2048  # windows that are shuffled together
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """One example: its inputs and labels (equal but where hidden), uint32 (L,), and what is hidden, bool (L,)."""

    inputs_L: np.ndarray
    labels_L: np.ndarray
    hidden_L: np.ndarray


def batches(documents: Sequence[Document], tokenizer: Tokenizer, settings: Settings) -> Iterator[list[Window]]:
    """Endless batches of windows, each at most `batch_tokens` tokens in all and sorted by length."""
    batch, tokens = [], 0
    for window in _shuffled(documents, tokenizer, settings):
        if batch and tokens + len(window.inputs_L) > settings.batch_tokens:
            yield sorted(batch, key=lambda w: len(w.inputs_L))
            batch, tokens = [], 0
        batch.append(window)
        tokens += len(window.inputs_L)


def _shuffled(documents: Sequence[Document], tokenizer: Tokenizer, settings: Settings) -> Iterator[Window]:
    epoch, buffer = 0, []
    while True:
        order = np.random.default_rng((settings.seed, epoch)).permutation(len(documents))
        found = False
        for index in order:
            rng = np.random.default_rng((settings.seed, epoch, int(index)))
            for window in windows_of(documents[index], tokenizer, settings, rng):
                found = True
                buffer.append(window)
                if len(buffer) >= settings.buffer_windows:
                    swap = int(rng.integers(len(buffer)))
                    buffer[swap], buffer[-1] = buffer[-1], buffer[swap]
                    yield buffer.pop()
        if not found:
            return
        epoch += 1


def windows_of(
    document: Document, tokenizer: Tokenizer, settings: Settings, rng: np.random.Generator
) -> Iterator[Window]:
    """The masked windows of one document, in order, under one objective drawn from `rng`.

    A document that does not parse, and a window in which no identifier of the file stands, takes random masking.
    """
    hide_names = settings.objective == "deobfuscation" or (settings.objective == "parallel" and rng.random() < 0.5)
    ids_T, names_T = tokenise(document, tokenizer, by_identifier=hide_names)
    for start in range(0, len(ids_T), settings.max_tokens):
        labels_L = ids_T[start : start + settings.max_tokens]
        names_L = names_T[start : start + settings.max_tokens]
        if len(labels_L) < _SHORTEST:
            continue
        if names_L.any():
            inputs_L, hidden_L = deobfuscate(
                labels_L, names_L, mask_id=tokenizer.mask_id, max_share=settings.deobfuscation_share, rng=rng
            )
        else:
            inputs_L, hidden_L = random_mask(
                labels_L, rate=settings.mask_rate, mask_id=tokenizer.mask_id, keep_id=tokenizer.end_id, rng=rng
            )
        yield Window(inputs_L, labels_L, hidden_L)


def tokenise(document: Document, tokenizer: Tokenizer, *, by_identifier: bool) -> tuple[np.ndarray, np.ndarray]:
    """Token ids of a document with its end token, uint32 (T,), and which name each is a part of, int32 (T,), 0: none.

    `by_identifier`: each identifier is tokenised on its own (paper section 3.1), the text between them too; a space
    before an identifier stays with the text before. Otherwise the text is tokenised as a whole and no name is marked.
    """
    pieces, names = [document.text], [0]
    if by_identifier and document.language:
        try:
            tree = syntax.parse(document.text, document.language, tsx=document.path.endswith(".tsx"))
            pieces, names = _pieces(tree.source, syntax.identifiers(tree))
        except syntax.ParseRefused:
            pass  # deeper or larger than a parser may see: random masking needs no parse
    encoded = tokenizer.encode_pieces(pieces)
    sizes = [len(ids) for ids in encoded]
    ids_T = np.fromiter((i for ids in [*encoded, [tokenizer.end_id]] for i in ids), np.uint32, sum(sizes) + 1)
    return ids_T, np.append(np.repeat(np.asarray(names, np.int32), sizes), np.int32(0))


def _pieces(source: bytes, identifiers) -> tuple[list[str], list[int]]:
    pieces, names, numbers, end = [], [], {}, 0
    for identifier in identifiers:
        if identifier.start_byte > end:
            pieces.append(source[end : identifier.start_byte].decode("utf-8", "replace"))
            names.append(0)
        pieces.append(source[identifier.start_byte : identifier.end_byte].decode("utf-8", "replace"))
        names.append(numbers.setdefault(identifier.name, len(numbers) + 1))
        end = identifier.end_byte
    pieces.append(source[end:].decode("utf-8", "replace"))
    names.append(0)
    return pieces, names
