"""Stage I: token-level denoising (paper section 3.1). Documents in, a pretrained encoder out.

The loss is the cross entropy over the hidden tokens only: their rows are gathered before the vocabulary, which saves
the head's cost and memory on all others.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from codesage.artifacts import Artifact, open_artifact, publish
from codesage.encoder.config import Config
from codesage.encoder.model import Encoder, Layout
from codesage.encoder.weights import save_weights
from codesage.errors import CodesageError
from codesage.pretrain import examples
from codesage.records import Document
from codesage.tokenizer import Tokenizer
from codesage.training import loop


@dataclass(frozen=True, slots=True)
class Settings:
    """A run of Stage I: the encoder's shape, its examples, its optimisation."""

    encoder: Config
    examples: examples.Settings
    loop: loop.Settings


def masked_loss(encoder: Encoder, batch: list[examples.Window]) -> tuple[Tensor, int]:
    """Mean cross entropy (natural log) over the hidden tokens of a batch, and the batch's number of tokens."""
    device = encoder.wte.weight.device
    layout = Layout.of([len(window.inputs_L) for window in batch], device)
    inputs_T, labels_T = (
        torch.from_numpy(np.concatenate([getattr(window, name) for window in batch]).astype(np.int64)).to(device)
        for name in ("inputs_L", "labels_L")
    )
    hidden_M = torch.from_numpy(np.flatnonzero(np.concatenate([window.hidden_L for window in batch]))).to(device)
    states_MD = encoder(inputs_T, layout)[hidden_M]
    return F.cross_entropy(encoder.logits(states_MD).float(), labels_T[hidden_M]), len(inputs_T)


def run(settings: Settings, documents: Sequence[Document], tokenizer: Tokenizer, out: Path | str) -> Artifact:
    """Pretrain an encoder on `documents` and publish it at `out` (an artifact of kind "model").

    The vocabulary of the encoder is the tokenizer's. Raises CodesageError when there is nothing to learn from, or the
    windows are longer than the encoder's positions, before any training time is spent.
    """
    if not documents:
        raise CodesageError("no documents to pretrain on: build a corpus with 'codesage corpus build'")
    if settings.examples.max_tokens > settings.encoder.max_position_embeddings:
        raise CodesageError(f"windows of {settings.examples.max_tokens} tokens, but the encoder has "
                            f"{settings.encoder.max_position_embeddings} positions: lower max_tokens")  # fmt: skip
    settings = replace(settings, encoder=replace(settings.encoder, vocab_size=tokenizer.vocab_size))
    torch.manual_seed(settings.loop.seed)
    encoder = Encoder(settings.encoder)
    facts: dict = {"stages": ["pretrain"], "max_tokens": settings.examples.max_tokens}
    with publish(out, "model", settings={"pretrain": asdict(settings)}, facts=facts) as folder:
        batches = examples.batches(documents, tokenizer, settings.examples)
        facts["pretrain"] = loop.train(
            encoder,
            settings.loop,
            batches=islice(batches, settings.loop.steps),
            loss_of=lambda batch: masked_loss(encoder, batch),
            folder=folder,
            stage="pretrain",
        )
        save_weights(encoder, folder)
        tokenizer.save(folder)
    return open_artifact(out, "model")
