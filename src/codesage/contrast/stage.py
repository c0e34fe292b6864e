"""Stage II: bimodal contrastive learning (paper section 3.2). Pairs and an encoder in, an embedding model out."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from codesage.artifacts import Artifact, open_artifact, publish
from codesage.contrast.loss import contrastive_loss
from codesage.encoder.model import Encoder
from codesage.encoder.weights import save_weights
from codesage.errors import CodesageError
from codesage.records import Pair
from codesage.tokenizer import Tokenizer
from codesage.training import loop


@dataclass(frozen=True, slots=True)
class Settings:
    """A run of Stage II. Published: temperature, batch 8,192, hard positives; the rest is our choice."""

    loop: loop.Settings
    batch_pairs: int = 8192
    temperature: float = 0.05
    negatives: str = "softmax"  # how in-batch negatives are weighted, see contrastive_loss
    hard_positives: float = 1.0  # probability that the code side is the bare body; else the whole definition
    text_tokens: int = 128
    code_tokens: int = 1024
    shallow: loop.Settings | None = None  # a first phase that trains the embedding alone, all blocks bypassed
    shallow_pairs: int = 1024  # pairs in a batch of that phase, which costs next to nothing

    def __post_init__(self) -> None:
        if self.batch_pairs < 2:
            raise CodesageError(f"batch_pairs is {self.batch_pairs}: a contrastive batch needs at least 2 pairs")


def batches(pairs: Sequence[Pair], settings: Settings, *, size: int) -> Iterator[tuple[list[str], list[str]]]:
    """Endless (texts, codes) batches of distinct pairs: an epoch is a permutation, order is by (seed, epoch) alone.

    The last, partial batch of an epoch is left out: a smaller batch is an easier problem.
    """
    size = min(size, len(pairs))
    epoch = 0
    while True:
        rng = np.random.default_rng((settings.loop.seed, epoch))
        order = rng.permutation(len(pairs))
        bare = rng.random(len(pairs)) < settings.hard_positives
        for start in range(0, len(pairs) - size + 1, size):
            chosen = order[start : start + size]
            yield (
                [pairs[i].text for i in chosen],
                [pairs[i].bare_body if bare[i] else pairs[i].code for i in chosen],
            )
        epoch += 1


def run(
    settings: Settings, pairs: Sequence[Pair], encoder: Encoder, *, tokenizer: Tokenizer, out: Path | str,
    before: Artifact | None = None,
) -> Artifact:  # fmt: skip
    """Train `encoder` in place on `pairs` and publish it at `out` (an artifact of kind "model").

    `before` is the Stage I model it starts from (None: from scratch), for the record. Raises CodesageError when there
    are fewer than two pairs, or the tokenizer or the lengths do not fit the encoder, before training time is spent.
    """
    if len(pairs) < 2:
        raise CodesageError(f"{len(pairs)} pairs to learn from: expected at least 2, build a larger corpus")
    if tokenizer.vocab_size != encoder.config.vocab_size:
        raise CodesageError(f"the tokenizer has {tokenizer.vocab_size} entries, the encoder "
                            f"{encoder.config.vocab_size}: use the tokenizer the encoder was made with")  # fmt: skip
    longest = max(settings.text_tokens, settings.code_tokens)
    if longest > encoder.config.max_position_embeddings:
        raise CodesageError(f"texts of {longest} tokens, but the encoder has "
                            f"{encoder.config.max_position_embeddings} positions: lower code_tokens")  # fmt: skip
    torch.manual_seed(settings.loop.seed)

    def phase(name: str, phase_settings: loop.Settings, *, size: int, depth: int | None, folder: Path) -> dict:
        def loss_of(batch: tuple[list[str], list[str]]) -> tuple[torch.Tensor, int]:
            texts, codes = batch
            ids = tokenizer.encode(texts, max_tokens=settings.text_tokens)
            ids += tokenizer.encode(codes, max_tokens=settings.code_tokens)
            text_PD, code_PD = encoder.embed(ids, depth=depth).chunk(2)
            loss = contrastive_loss(
                text_PD, code_PD, temperature=settings.temperature, negatives=settings.negatives
            )
            return loss, sum(map(len, ids))

        done = loop.train(
            encoder, phase_settings, batches=islice(batches(pairs, settings, size=size), phase_settings.steps),
            loss_of=loss_of, folder=folder, stage=name,
        )  # fmt: skip
        return {**done, "pairs_seen": done["steps"] * min(size, len(pairs))}

    facts = dict(before.facts) if before else {"stages": []}
    facts["stages"] = [*facts["stages"], "contrast"]
    facts["max_tokens"] = max(settings.code_tokens, facts.get("max_tokens", 0))
    recorded = {**(before.settings if before else {}), "contrast": asdict(settings), "encoder": asdict(encoder.config)}
    with publish(out, "model", settings=recorded, facts=facts) as folder:
        if settings.shallow is not None:
            facts["shallow"] = phase("shallow", settings.shallow, size=settings.shallow_pairs, depth=0, folder=folder)
        facts["contrast"] = phase("contrast", settings.loop, size=settings.batch_pairs, depth=None, folder=folder)
        save_weights(encoder, folder)
        tokenizer.save(folder)
    return open_artifact(out, "model")
