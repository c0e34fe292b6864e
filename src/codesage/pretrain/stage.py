"""Stage I: token-level denoising (paper section 3.1). It pretrains an encoder on tokens.

The loss is the mean cross entropy over the hidden tokens of the global batch. The batch is shared among all processes and cut
into micro-batches that fit into memory. The loss of each part is divided by the global number of hidden tokens, so that the
gradients always add up to those of the whole batch.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codesage.artifacts import Artifact, open_any, open_artifact
from codesage.corpus.tokens.tokenised import Tokens
from codesage.encoder import lexical
from codesage.encoder.config import Config, load_config
from codesage.encoder.model import Encoder, Layout
from codesage.encoder.transfer import sent
from codesage.encoder.weights import load_encoder, save_weights
from codesage.errors import CodesageError
from codesage.pretrain import examples
from codesage.pretrain.head import chunk_floats, chunk_rows, summed_cross_entropy
from codesage.tokenizer import Tokenizer
from codesage.tokenizer import load as load_tokenizer
from codesage.training import curves, estimate, loop, processes, retrieval
from codesage.training.metrics import FILE
from codesage.training.schedule import require_finite

START = ("initial", "position_scale")  # settings of the first weights: of no use to a run that goes on from a model


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a Stage I run: the encoder's shape, the examples and the optimisation."""

    encoder: Config
    examples: examples.Settings
    loop: loop.Settings
    micro_tokens: int = 65_536  # per forward and backward pass; a larger batch is cut, with the same gradients
    evaluation_pairs: int = 500  # held-out pairs for the retrieval score
    initial: str = "normal"  # N(0, initializer_range), as in the paper; or "lexical" (encoder.lexical)
    position_scale: float = 0.0  # positions start as random directions of this length; 0: as with `initial`

    def __post_init__(self) -> None:
        require_finite(self)
        if self.micro_tokens < self.examples.max_tokens:
            raise CodesageError(
                f"micro_tokens is {self.micro_tokens}: it must hold a window of max_tokens ({self.examples.max_tokens})"
            )
        lexical.check(self.initial)
        if self.position_scale < 0:
            raise CodesageError(f"position_scale is {self.position_scale}: expected a length of at least 0")


def run(
    settings: Settings,
    tokens: Tokens,
    tokenizer: Tokenizer,
    out: Path | str,
    *,
    checkpoints: Path | None = None,
    resume: bool = True,
    before: Path | None = None,
) -> Artifact:
    """Pretrain an encoder on `tokens` and publish it at `out` (an artifact of kind "model").

    The encoder has the tokenizer's vocabulary. `before` is the folder of a model to start from instead of untrained weights;
    the encoder then has its shape, and the settings in START are not used. `checkpoints` and `resume` are as in
    training.loop.train. Raises CodesageError before training if the tokens or the model `before` have another tokenizer, if
    the tokens contain nothing to learn from, if windows are longer than the encoder's positions, or if the disk is too small.
    """
    settings = checked(settings, tokens, tokenizer, before)
    started = None if before is None else load_encoder(before)
    batches = examples.Batches(tokens, settings.examples)
    batches.switch(-(-settings.loop.steps // 2))
    needed = estimate.run_bytes(settings.encoder, keep=settings.loop.keep if checkpoints else -1)
    estimate.require_disk(checkpoints or Path(out).absolute().parent, needed)
    torch.manual_seed(settings.loop.seed)
    encoder = started or lexical.fresh(
        settings.encoder,
        tokenizer,
        tokens.counted(),
        initial=settings.initial,
        position_scale=settings.position_scale,
        seed=settings.loop.seed,
    )
    encoder.to(processes.device())
    length, head_share = shape_of(batches.at(0))
    facts = _history(before)
    facts |= {
        "stages": [*facts.get("stages", ()), "pretrain"],
        "max_tokens": settings.examples.max_tokens,
        "tokens": tokens.fingerprint,
    }
    start = {} if before else {name: getattr(settings, name) for name in START}
    recorded = {name: value for name, value in asdict(settings).items() if name not in START} | start
    with processes.published(out, settings={"pretrain": recorded}, facts=facts) as folder:
        facts["pretrain"] = loop.train(
            encoder,
            settings.loop,
            loop.Run(
                batches=batches,
                at_half=batches.switch,
                new_objective=batches.new_objective,
                gradients_of=lambda batch: gradients(encoder, batch, micro_tokens=settings.micro_tokens),
                warm_up=partial(warm_up, encoder),
                folder=folder,
                stage="pretrain",
                checkpoints=checkpoints,
                evaluate=retrieval.scorer(
                    encoder,
                    tokens,
                    text_tokens=settings.examples.max_tokens,
                    code_tokens=settings.examples.max_tokens,
                    pairs=settings.evaluation_pairs,
                ),
                identity={
                    "encoder": asdict(settings.encoder),
                    "examples": asdict(settings.examples),
                    "tokens": tokens.fingerprint,
                    "tokenizer": tokenizer.fingerprint,
                    **({"start": start} if before is None else {"before": _content(before)}),
                },
                resume=resume,
                flops_per_token=estimate.flops_per_token(settings.encoder, head_share=head_share, length=length),
            ),
        )
        whole = processes.unsharded(encoder)
        if processes.rank() == 0:
            save_weights(whole, folder)
            tokenizer.save(folder)
            curves.draw(folder / FILE, folder / "curves.png")
    return open_artifact(out, "model")


def _history(model: Path | None) -> dict:
    """The facts of the model that a run starts from, without those of its last training; {} for none."""
    facts = {} if model is None else dict(open_any(model, "model", verify=False).facts)
    if "pretrain" in facts:
        facts["pretrain-before"] = facts["pretrain"]
    for name in ("teacher", "distilled_from", "averaged", "mixture", "matryoshka_dims"):
        facts.pop(name, None)
    return facts


def _content(model: Path) -> str:
    return open_any(model, "model", verify=False).fingerprint or str(model)


def checked(settings: Settings, tokens: Tokens, tokenizer: Tokenizer, before: Path | None = None) -> Settings:
    """The settings with the shape of the model `before` and the tokenizer's vocabulary. CodesageError if these do not fit."""
    tokens.check(tokenizer)
    if before is not None:
        settings = replace(settings, encoder=_shape(before, tokenizer))
    if not len(tokens.plain):
        raise CodesageError(f"{tokens.path} holds no documents to pretrain on: build a corpus with 'codesage corpus build'")
    if settings.examples.max_tokens > settings.encoder.max_position_embeddings:
        raise CodesageError(
            f"windows of {settings.examples.max_tokens} tokens, but the encoder has "
            f"{settings.encoder.max_position_embeddings} positions: lower max_tokens"
        )
    return replace(settings, encoder=replace(settings.encoder, vocab_size=tokenizer.vocab_size))


def _shape(model: Path, tokenizer: Tokenizer) -> Config:
    """The shape of a model. CodesageError unless it has this tokenizer: its rows would get the meaning of other tokens."""
    own, config = load_tokenizer(model), load_config(model)
    if own.fingerprint != tokenizer.fingerprint:
        raise CodesageError(
            f"{model} has another tokenizer ({own.vocab_size} entries) than the tokens ({tokenizer.vocab_size} entries): "
            f"run 'codesage tokens' again with --tokenizer {model}"
        )
    if config.vocab_size != tokenizer.vocab_size:
        raise CodesageError(
            f"{model}: the tokenizer has {tokenizer.vocab_size} entries, the encoder {config.vocab_size}: "
            "copy the matching tokenizer"
        )
    return config


def dry_run(settings: Settings, tokens: Tokens, tokenizer: Tokenizer, *, before: Path | None = None) -> estimate.Estimate:
    """Estimate the cost of a run from its first batch and the peak speed of this device; `before` as in `run`."""
    settings = checked(settings, tokens, tokenizer, before)
    batch, device = examples.Batches(tokens, settings.examples).at(0), processes.device()
    length, head_share = shape_of(batch)
    encoder, step_tokens = settings.encoder, len(batch.inputs_T)
    micro_tokens = min(step_tokens, settings.micro_tokens)
    step = estimate.Step(
        step_tokens,
        step_tokens * estimate.flops_per_token(encoder, head_share=head_share, length=length),
        micro_tokens,
        chunk_floats(min(head_share * micro_tokens, chunk_rows(device)), encoder.vocab_size),
        attended=length,
    )
    return estimate.estimate(encoder, step, settings.loop, device)


def shape_of(batch: examples.Batch) -> tuple[float, float]:
    """Returns (mean number of tokens that a token attends to, share of hidden tokens) of a batch."""
    total = max(1, len(batch.inputs_T))
    return sum(length * length for length in batch.lengths) / total, len(batch.hidden_M) / total


def gradients(encoder: Encoder, batch: examples.Batch, *, micro_tokens: int) -> tuple[Tensor, int]:
    """Returns (this process's part of the global loss, its number of tokens), and leaves the gradients in `.grad`.

    `batch` is the share of this process. The parts of all processes add up to the mean cross entropy (natural log) over the
    hidden tokens of the global batch, and the gradients add up in the same way.
    """
    (hidden,) = processes.total([len(batch.hidden_M)])
    parts = list(_micro_batches(batch, micro_tokens))
    rounds = max(processes.gather_objects(len(parts))) if processes.is_sharded(encoder) else len(parts)
    loss = torch.zeros((), dtype=encoder.wte.weight.dtype, device=encoder.wte.weight.device)
    parts += [_NOTHING] * (rounds - len(parts))  # sharded: every process must run the same number of times
    for number, part in enumerate(parts, 1):
        processes.accumulate(encoder, last=number == len(parts))
        summed = summed_loss(encoder, part) / hidden
        summed.backward()
        loss += summed.detach()
    return loss, len(batch.inputs_T)


def warm_up(encoder: Encoder, batch: examples.Batch) -> None:
    """Run `gradients` on one window, the longest of a batch. This runs the blocks in all forms that a step uses."""
    (window,) = [*_micro_batches(batch, 1)][-1:] or [_NOTHING]
    gradients(encoder, window, micro_tokens=1)


_NOTHING = examples.Batch(np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), [1])


def summed_loss(encoder: Encoder, batch: examples.Batch) -> Tensor:
    """Sum of the cross entropies (natural log) of a batch. Logits are computed only for the hidden tokens."""
    device = encoder.wte.weight.device
    inputs_T, labels_M, hidden_M = (sent(torch.from_numpy(x), device) for x in (batch.inputs_T, batch.labels_M, batch.hidden_M))
    states_MD = encoder(inputs_T, Layout.of(batch.lengths, device), rows_M=hidden_M)
    return summed_cross_entropy(states_MD, encoder.wte.weight, labels_M)


def _micro_batches(batch: examples.Batch, most: int) -> Iterator[examples.Batch]:
    """Yields the windows of a batch, in order, in parts of at most `most` tokens or one window."""
    ends = np.cumsum(batch.lengths)
    borders = [0]  # window numbers
    while borders[-1] < len(batch.lengths):
        before = ends[borders[-1] - 1] if borders[-1] else 0
        borders.append(max(borders[-1] + 1, int(np.searchsorted(ends, before + most, "right"))))
    for first, last in pairwise(borders):
        start, end = int(ends[first - 1]) if first else 0, int(ends[last - 1])
        low, high = np.searchsorted(batch.hidden_M, [start, end])
        yield examples.Batch(
            batch.inputs_T[start:end], batch.labels_M[low:high], batch.hidden_M[low:high] - start, batch.lengths[first:last]
        )
