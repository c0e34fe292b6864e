"""Distillation: a small encoder also learns the vectors that a larger one gives for the same texts and codes.

In: a larger encoder of the same width and tokenizer, and the batches of Stage II. Out: a loss. The larger encoder computes in
the same run, so it sees texts and codes as they are augmented and cut. The loss is the regression of unit vectors, which is
enough to keep most of a sentence encoder's quality in fewer layers (Reimers and Gurevych 2020). Shapes: N texts and codes, D
width.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from codesage.artifacts import open_any
from codesage.corpus.tokens.ragged import Ragged
from codesage.encoder.config import Config
from codesage.encoder.folders import folder_of
from codesage.encoder.model import Encoder
from codesage.encoder.weights import load_with_tokenizer
from codesage.errors import CodesageError
from codesage.tokenizer import Tokenizer
from codesage.training.retrieval import vectors

_MICRO_TOKENS = 16_384  # tokens embedded at a time


@dataclass(frozen=True, slots=True)
class Larger:
    """The encoder to learn from, in eval mode and without gradients."""

    name: str
    fingerprint: str
    encoder: Encoder

    @property
    def facts(self) -> dict:
        """The facts about it that the model's card lists."""
        return {"name": self.name, "fingerprint": self.fingerprint, "parameters": self.encoder.config.parameters()}

    @torch.no_grad()
    def vectors(self, documents: Ragged) -> Tensor:
        """Its vectors (N, D), float32, in the given order."""
        return vectors(self.encoder, documents.rows(), tokens=_MICRO_TOKENS)


def read(model: Path | str, tokenizer: Tokenizer, config: Config, device: torch.device | str = "cpu") -> Larger:
    """Open a model folder or a bundled model to learn from, on `device`.

    `tokenizer` and `config` are those of the encoder that learns. Raises CodesageError when the folder holds no model, or a
    model of another tokenizer, another width or fewer positions.
    """
    folder = folder_of(model)
    encoder, theirs = load_with_tokenizer(folder)
    if theirs.fingerprint != tokenizer.fingerprint:
        raise CodesageError(f"{model} has another tokenizer than the model to train: distil from a model of the same tokenizer")
    if encoder.config.vector_width != config.vector_width:
        raise CodesageError(
            f"{model} has vectors of width {encoder.config.vector_width}, the model to train {config.vector_width}: "
            "distil from a model of the same width"
        )
    if encoder.config.max_position_embeddings < config.max_position_embeddings:
        raise CodesageError(
            f"{model} has {encoder.config.max_position_embeddings} positions, the model to train "
            f"{config.max_position_embeddings}: shrink the model to train with --positions"
        )
    return Larger(Path(model).name, open_any(folder, "model").fingerprint, encoder.to(device).requires_grad_(False))


def distillation_loss(vectors_ND: Tensor, larger_ND: Tensor) -> Tensor:
    """Mean over texts and codes of 1 - cos(own vector, larger encoder's vector), half the squared distance of unit vectors."""
    with torch.autocast(vectors_ND.device.type, enabled=False):
        own_ND = vectors_ND if vectors_ND.dtype == torch.float64 else vectors_ND.float()
        return (1 - F.cosine_similarity(own_ND, larger_ND.to(own_ND.dtype), dim=-1)).mean()
