"""A fine-tuned classifier: an encoder and the head that was trained with it, in one artifact.

In: both, or the folder that holds both. Out: a folder with the head as other heads have it, and with the encoder in a model
folder of its own, `encoder`, which works wherever a model does; or probabilities for texts. Shapes: N rows, C labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codesage.artifacts import open_any, publish
from codesage.classify import training
from codesage.classify.head import Head, write
from codesage.encoder import runtime
from codesage.encoder.model import Encoder
from codesage.encoder.weights import load_with_tokenizer, save_weights
from codesage.tokenizer import Tokenizer

FOLDER = "encoder"
FACT = "fine-tuned"  # in the manifest of the head


@dataclass(frozen=True, slots=True)
class Start:
    """An encoder to fine-tune, with what its folder says. `max_tokens`: of a text."""

    encoder: Encoder
    tokenizer: Tokenizer
    max_tokens: int
    settings: dict
    facts: dict

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of code, as `encode` gives them to the model."""
        return self.tokenizer.encode(texts, max_tokens=self.max_tokens)

    def probabilities(self, head: Head, texts: Sequence[str]) -> np.ndarray:
        """Of each label of `head`, which was trained with this encoder: float64 (N, C)."""
        return head.probabilities(training.pooled(self.encoder, self.token_ids(texts)))


def read(model: Path | str | None, device: str) -> Start:
    """The weights of the model, in torch, on `device`. CodesageError as in `codesage.load`."""
    folder = runtime.folder_of(model)
    encoder, tokenizer = load_with_tokenizer(folder)
    made = open_any(folder, "model", verify=False)
    longest = min(made.facts.get("max_tokens") or runtime.foreign_length(folder), encoder.config.max_position_embeddings)
    return Start(encoder.to(runtime.device_of(device, folder, "torch")), tokenizer, longest, made.settings, made.facts)


def save(head: Head, start: Start, out: Path | str, *, settings: dict, facts: dict) -> None:
    """Publish the head, and the encoder of `start`, which was trained with it, at `out` (an artifact of kind "head")."""
    stages = [*start.facts.get("stages", []), "classify"]
    told = {**start.facts, "max_tokens": start.max_tokens, "stages": stages}
    with publish(out, "head", settings=settings, facts={**facts, FACT: True, "labels": list(head.labels)}) as folder:
        write(head, folder)
        with publish(folder / FOLDER, "model", settings={**start.settings, "classify": settings}, facts=told) as inner:
            save_weights(start.encoder.cpu(), inner)
            start.tokenizer.save(inner)
