"""The model that judges pairs. It runs on a GPU if there is one and the folder holds weights, else as in search.

Tokens hold ids of one tokenizer. A model with another tokenizer judges them too: their text is tokenised again.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from codesage import tokenizer as tokenizers
from codesage.contrast.filtering import EmbedsIds
from codesage.encoder import runtime
from codesage.encoder.folders import folder_of
from codesage.encoder.model import Encoder
from codesage.encoder.weights import load_encoder
from codesage.tokenizer import Tokenizer
from codesage.training import precision, processes

_BATCH_TOKENS = 65_536  # tokens embedded at a time


class OnDevice:
    """An encoder with the interface of `codesage.load()`; vectors are computed on the encoder's device."""

    def __init__(self, encoder: Encoder, *, max_tokens: int, fingerprint: str) -> None:
        encoder.eval()
        self.width = encoder.config.vector_width
        self.max_tokens, self.fingerprint = max_tokens, fingerprint
        self._forward = runtime.forward_of(encoder, precision.autocast("auto", encoder.wte.weight.device))

    def encode_ids(self, documents: Sequence[Sequence[int]]) -> np.ndarray:
        """Unit vectors, float32 (n, width), of documents given as token ids, each with its end token."""
        vectors = np.empty((len(documents), self.width), np.float32)
        for rows in runtime.batches_by_length([len(document) for document in documents], budget=_BATCH_TOKENS):
            vectors[rows] = self._forward([documents[row] for row in rows])
        return vectors


class Retokenised:
    """`model` for documents of another tokenizer, `given`: their ids are decoded, and the text is tokenised by its `own`."""

    def __init__(self, model: EmbedsIds, *, own: Tokenizer, given: Tokenizer) -> None:
        self.width, self.max_tokens, self.fingerprint = model.width, model.max_tokens, model.fingerprint
        self._model, self._own, self._given = model, own, given

    def encode_ids(self, documents: Sequence[Sequence[int]]) -> np.ndarray:
        """Unit vectors, float32 (n, width), of documents given as token ids, each with its end token."""
        texts = [self._given.decode(document[:-1]) for document in documents]
        return self._model.encode_ids(self._own.encode(texts, max_tokens=self.max_tokens))


def load(path: Path | str | None, *, given: Tokenizer | None = None) -> EmbedsIds:
    """The model at `path`, or the bundled model; `given`: the tokenizer of the ids that it gets, if it may be another.

    CodesageError as in `codesage.load`.
    """
    model = _on_device(path)
    if given is None or given.fingerprint == (own := tokenizers.load(folder_of(path))).fingerprint:
        return model
    return Retokenised(model, own=own, given=given)


def _on_device(path: Path | str | None) -> EmbedsIds:
    as_searched = runtime.load(path)
    if runtime.device_of("auto", folder_of(path)) == "cpu":
        return as_searched
    device = processes.device()
    fingerprint = f"{device.type}:{as_searched.fingerprint.partition(':')[2]}"
    return OnDevice(load_encoder(folder_of(path)).to(device), max_tokens=as_searched.max_tokens, fingerprint=fingerprint)
