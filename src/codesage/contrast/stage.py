"""Stage II: bimodal contrastive learning (paper section 3.2). In: tokenised pairs and an encoder. Out: an embedding model.

A run has one or more phases, each with its own settings. The first phase may bypass the blocks (depth 0), which trains the
embedding on a hundred times as many pairs per second. A later phase adds the blocks as a small correction (`residual_scale`).
"""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codesage.artifacts import Artifact, open_artifact
from codesage.contrast import cached
from codesage.contrast.batches import Batch, Batches
from codesage.contrast.batches import Settings as BatchSettings
from codesage.contrast.distillation import Larger, distillation_loss
from codesage.contrast.loss import NEGATIVES
from codesage.contrast.matryoshka import check_dims, matryoshka_loss
from codesage.contrast.teacher import Teacher, teaching_loss
from codesage.contrast.tiled import tiled_loss
from codesage.contrast.vectors import embed, stacked, taken
from codesage.corpus.tokens.tokenised import Tokens
from codesage.encoder.config import Config
from codesage.encoder.model import Encoder
from codesage.encoder.transfer import sent
from codesage.encoder.weights import save_weights
from codesage.errors import CodesageError
from codesage.tokenizer import Tokenizer
from codesage.training import checkpoints as disk
from codesage.training import curves, estimate, loop, processes, retrieval
from codesage.training.estimate import Estimate
from codesage.training.metrics import FILE
from codesage.training.schedule import require_finite

POSITIVES = ("pairs", "dropout")
_ROOM = 0.6  # share of the memory that the graphs of a batch may take together with weights and optimizer
_SAMPLED = 8  # batches that an estimate looks at: those of a mixture differ
_MICRO_TOKENS = 4_096  # of a batch that does not fit into memory


@dataclass(frozen=True, slots=True)
class Settings:
    """A phase of Stage II. The paper gives the temperature and what `batches` lists; the rest is our choice."""

    loop: loop.Settings
    batches: BatchSettings = field(default_factory=BatchSettings)
    temperature: float = 0.05
    negatives: str = "softmax"  # how in-batch negatives are weighted, see contrastive_loss
    positives: str = "pairs"  # "dropout": each text and each code with itself under two dropout masks (an ablation)
    matryoshka_dims: tuple[int, ...] = ()  # widths that vectors may be cut to, ending with the encoder's; (): only whole
    matryoshka_weights: tuple[float, ...] = ()  # weight of the loss at each width; (): all 1
    teacher_weight: float = 1.0  # weight of the teaching loss relative to the contrastive loss, if there is a teacher
    teacher_temperature: float = 0.05  # of the similarities that are compared with the teacher's
    distil_weight: float = 10.0  # weight of the distillation loss, if there is a larger encoder to learn from
    micro_tokens: int = 0  # tokens embedded at a time; 0: the whole batch
    cached: bool = True  # with micro_tokens: needs the memory of one micro-batch, costs a second forward (contrast.cached)
    depth: int | None = None  # number of blocks used: None all, 0 only the embedding
    residual_scale: float = 1.0  # factor for each block's c_proj weights and biases, applied once before this phase
    first: "Settings | None" = None  # the previous phase

    def __post_init__(self) -> None:
        require_finite(self)
        for name, allowed in (("negatives", NEGATIVES), ("positives", POSITIVES)):
            if getattr(self, name) not in allowed:
                raise CodesageError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(allowed)}")
        if self.temperature <= 0 or self.residual_scale <= 0 or self.micro_tokens < 0:
            raise CodesageError(
                f"temperature {self.temperature}, residual_scale {self.residual_scale}, micro_tokens "
                f"{self.micro_tokens}: expected the first two over 0 and the last 0 or more"
            )
        if self.teacher_weight < 0 or self.teacher_temperature <= 0:
            raise CodesageError(
                f"teacher_weight {self.teacher_weight}, teacher_temperature {self.teacher_temperature}: "
                "expected a weight of 0 or more and a temperature over 0"
            )
        if self.distil_weight < 0:
            raise CodesageError(f"distil_weight is {self.distil_weight}, expected 0 or more")
        if self.depth == 0 and self.residual_scale != 1:
            raise CodesageError(
                f"residual_scale is {self.residual_scale}, but depth 0 uses no blocks: set it in the phase that uses the blocks"
            )

    def phases(self) -> dict[str, "Settings"]:
        """All phases by name, in order: "shallow" for depth 0, else "contrast"; repeated names are numbered from 2."""
        phases: dict[str, Settings] = {}
        chain: list[Settings] = [self]
        while chain[0].first is not None:
            chain.insert(0, chain[0].first)
        for phase in chain:
            name = "shallow" if phase.depth == 0 else "contrast"
            same = sum(known.split("-")[0] == name for known in phases)
            phases[f"{name}-{same + 1}" if same else name] = phase
        return phases


@dataclass(frozen=True, slots=True)
class Prepared:
    """What other commands prepared for a run."""

    model: Artifact | None = None  # the Stage I model that the run starts from, for the record; None: from scratch
    keep: np.ndarray | None = None  # the mask from contrast.filtering, bool, one per pair; None: all pairs
    mined: np.ndarray | None = None  # hard negatives from contrast.mining
    teacher: Teacher | None = None  # from contrast.teacher
    larger: Larger | None = None  # from contrast.distillation


def one_phase(settings: Settings) -> Settings:
    """Only the last phase of `settings`, with the time of all. For a model whose blocks already went through Stage II."""
    seconds = sum(phase.loop.seconds for phase in settings.phases().values())
    return replace(settings, loop=replace(settings.loop, seconds=seconds), first=None, residual_scale=1.0)


def run(
    settings: Settings,
    tokens: Tokens,
    encoder: Encoder,
    *,
    tokenizer: Tokenizer,
    out: Path | str,
    prepared: Prepared = Prepared(),
    checkpoints: Path | None = None,
    resume: bool = True,
) -> Artifact:
    """Train `encoder` in place on the pairs of `tokens` and publish it at `out` (an artifact of kind "model").

    `checkpoints` and `resume`: as in training.loop.train; a phase that a later one has started from is not trained further.
    Raises CodesageError before training starts when there are fewer than two pairs, or when settings, tokenizer, lengths and
    encoder do not fit each other.
    """
    phases, before, teacher = settings.phases(), prepared.model, prepared.teacher
    batches = {}
    for name, phase in phases.items():
        check(phase, tokens, encoder.config, tokenizer)
        batches[name] = Batches(
            tokens,
            phase.batches,
            consistent=prepared.keep,
            tokenizer=tokenizer,
            mined=prepared.mined,
            teacher_PW=None if teacher is None else teacher.texts_PW,
        )
    needed = estimate.run_bytes(encoder.config, keep=len(phases) * settings.loop.keep if checkpoints else -1)
    estimate.require_disk(checkpoints or Path(out).absolute().parent, needed)
    facts: dict[str, Any] = dict(before.facts) if before else {"stages": []}
    for name in ("teacher", "distilled_from", "averaged"):  # of an earlier training
        facts.pop(name, None)
    facts["stages"] = [*facts["stages"], "contrast"]
    longest = {side: max(getattr(phase.batches, side) for phase in phases.values()) for side in ("text_tokens", "code_tokens")}
    facts["max_tokens"] = max(settings.batches.code_tokens, facts.get("max_tokens", 0))
    facts["matryoshka_dims"] = list(settings.matryoshka_dims)
    recorded = {**(before.settings if before else {}), "contrast": asdict(settings), "encoder": asdict(encoder.config)}
    origin = _origin(tokens, encoder, tokenizer, prepared)
    _print_sources(batches)
    if teacher is not None:
        facts["teacher"] = teacher.facts
    if prepared.larger is not None:
        facts["distilled_from"] = prepared.larger.facts
    facts["mixture"] = [part.facts for part in batches[list(batches)[-1]].parts]
    with processes.published(out, settings=recorded, facts=facts) as folder:
        ended = _ended(list(phases), checkpoints, resume=resume)
        for name, phase in phases.items():
            torch.manual_seed(phase.loop.seed + processes.rank())  # dropout differs between processes
            encoder.scale_residuals(phase.residual_scale)
            with _bypassed(encoder, phase.depth):
                done = loop.train(
                    encoder,
                    phase.loop,
                    loop.Run(
                        batches=batches[name],
                        gradients_of=partial(gradients, encoder, phase, larger=prepared.larger),
                        warm_up=partial(warm_up, encoder, phase, larger=prepared.larger),
                        folder=folder,
                        stage=name,
                        checkpoints=checkpoints,
                        resume=resume,
                        ended=name in ended,
                        evaluate=retrieval.scorer(encoder, tokens, **longest, depth=phase.depth),
                        identity={**origin, "settings": _identity(phase)},
                        flops_per_token=_flops(encoder, phase, batches[name]),
                    ),
                )
            if name in facts:  # of the model it started from
                facts[f"{name}-before"] = facts[name]
            facts[name] = {**done, "pairs_seen": done["steps"] * batches[name].at(0).pair_P.size}
        whole = processes.unsharded(encoder)
        if processes.rank() == 0:
            save_weights(whole, folder)
            tokenizer.save(folder)
            curves.draw(folder / FILE, folder / "curves.png")
    return open_artifact(out, "model")


def _origin(tokens: Tokens, encoder: Encoder, tokenizer: Tokenizer, prepared: Prepared) -> dict:
    """What a resumed run must share with the interrupted one, beside its settings."""
    return {
        "encoder": asdict(encoder.config),
        "tokens": tokens.fingerprint,
        "tokenizer": tokenizer.fingerprint,
        "before": prepared.model.fingerprint if prepared.model else "",
        "kept": _digest(prepared.keep),
        "mined": _digest(prepared.mined),
        "teacher": "" if prepared.teacher is None else prepared.teacher.fingerprint,
        "larger": "" if prepared.larger is None else prepared.larger.fingerprint,
    }


def _digest(column: np.ndarray | None) -> str:
    """SHA-256 (hex) of the values of an array, "" without one."""
    return "" if column is None else hashlib.sha256(column.tobytes()).hexdigest()


def _ended(phases: list[str], home: Path | None, *, resume: bool) -> list[str]:
    """The phases whose weights a later one has started from. Without `resume`, the checkpoints of all phases are removed."""
    if home is None:
        return []
    if not resume:
        if processes.rank() == 0:
            for name in phases:
                disk.prune(home / name, keep=0)
        processes.barrier()
    there = [name for name in phases if disk.exist(home / name)]
    ended = phases[: phases.index(there[-1])] if there else []
    if lost := [name for name in ended if name not in there]:
        raise CodesageError(
            f"{home} holds checkpoints of {there[-1]}, but none of {lost[0]} before it: use --fresh, or another --out"
        )
    return ended


def _print_sources(batches: dict[str, Batches]) -> None:
    """Print on stderr what each phase will learn from."""
    if processes.rank() == 0:
        for name, own in batches.items():
            print("\n".join(f"codesage: {name}: {line}" for line in own.lines()), file=sys.stderr, flush=True)


def expected(
    settings: Settings,
    tokens: Tokens,
    encoder: Encoder,
    *,
    tokenizer: Tokenizer | None = None,
    prepared: Prepared = Prepared(),
) -> dict[str, Estimate]:
    """The cost of each phase, by name, as `--dry-run` prints it. Nothing is trained.

    If the tokenizer is given, raises CodesageError as `run` does when settings, tokens and encoder do not fit each other.
    """
    estimates = {}
    for name, phase in settings.phases().items():
        if tokenizer is not None:
            check(phase, tokens, encoder.config, tokenizer)
        drawn = replace(phase.batches, neighbours=0)  # the size of a batch does not depend on it, and it needs a teacher
        batches = Batches(tokens, drawn, consistent=prepared.keep, tokenizer=tokenizer, mined=prepared.mined)
        steps = [_work(encoder, phase, batches.at(number)) for number in range(min(_SAMPLED, phase.loop.steps))]
        mean = [sum(getattr(step, name) for step in steps) / len(steps) for name in ("tokens", "flops")]
        largest = max(steps, key=lambda step: min(step.tokens, step.micro_tokens))
        step = replace(largest, tokens=round(mean[0]), flops=mean[1])
        estimates[name] = estimate.estimate(encoder.config, step, phase.loop, encoder.wte.weight.device)
    return estimates


def _work(encoder: Encoder, phase: Settings, batch: Batch) -> estimate.Step:
    config, tokens, attended = encoder.config, len(batch.texts.ids) + len(batch.codes.ids), mean_length(batch)
    depth = config.num_hidden_layers if phase.depth is None else phase.depth
    blocks = tokens * estimate.flops_per_token(config, length=attended) * depth / config.num_hidden_layers
    loss = 4 * (2 * len(batch.pair_P)) ** 2 * config.vector_width  # every process computes that of all pairs
    at_once, one_by_one = _cut(encoder, phase, stacked(batch.texts, batch.codes).lengths)
    micro_tokens = min(at_once, tokens) if one_by_one and at_once else tokens
    return estimate.Step(tokens, blocks + processes.world() * loss, micro_tokens, attended=attended)


def gradients(encoder: Encoder, settings: Settings, batch: Batch, *, larger: Larger | None = None) -> tuple[Tensor, int]:
    """Leave the gradients of this process's part of a batch in `.grad`; return its part of the loss and its token count.

    Every process computes the loss of the global batch from the gathered vectors and takes 1/world of it, so that the parts
    add up, as training.processes requires.
    """
    documents = stacked(batch.texts, batch.codes)
    twice = settings.positives == "dropout"
    if twice:
        documents = stacked(documents, documents)
    tokens, one_by_one = _cut(encoder, settings, documents.lengths)
    rows = cached.micro_batches(documents.lengths.tolist(), tokens=tokens)
    if processes.is_sharded(encoder):  # all processes call it equally often
        counts, choices = zip(*processes.gather_objects((len(rows), one_by_one)), strict=True)
        rows = cached.micro_batches(documents.lengths.tolist(), tokens=tokens, at_least=max(counts))
        one_by_one = any(choices)
    loss = cached.backward(
        lambda micro: embed(encoder, taken(documents, micro), depth=settings.depth),
        rows,
        partial(
            loss_of,
            settings=settings,
            teacher_PW=_on_device(batch.teacher_PW, encoder),
            larger_ND=larger.vectors(documents) if larger and settings.distil_weight else None,
        ),
        cached=one_by_one,
        before=lambda last: processes.accumulate(encoder, last=last),
    )
    return loss, len(documents.ids)


def _cut(encoder: Encoder, settings: Settings, length_N: np.ndarray) -> tuple[int, bool]:
    """Tokens of a micro-batch (0: the whole batch), and whether one graph is kept at a time (contrast.cached).

    These are the settings, unless memory cannot hold the graphs of a batch with documents of these lengths. Then one graph is
    kept at a time, which gives the same gradients up to rounding.
    """
    if settings.depth == 0 or (settings.cached and settings.micro_tokens):
        return settings.micro_tokens, settings.cached
    config, device = encoder.config, encoder.wte.weight.device
    memory, attended, mode = processes.share_of_memory(device), _attended(length_N), settings.loop.precision
    graphs = estimate.graph_bytes(config, int(length_N.sum()), attended=attended, mode=mode, device=device)
    if not memory or estimate.fixed_bytes(config) + graphs <= _ROOM * memory:
        return settings.micro_tokens, settings.cached
    return settings.micro_tokens or _MICRO_TOKENS, True


def warm_up(encoder: Encoder, settings: Settings, batch: Batch, *, larger: Larger | None = None) -> None:
    """Run `gradients` on two pairs of a batch, with one micro-batch per document if the settings use micro-batches.

    This runs the blocks in every form that a step may use, including without gradients.
    """
    rows = np.arange(len(batch.pair_P))[:2]
    few = Batch(
        taken(batch.texts, rows),
        taken(batch.codes, rows),
        batch.pair_P[rows],
        batch.partner_P[rows],
        None if batch.teacher_PW is None else batch.teacher_PW[rows],
    )
    gradients(encoder, replace(settings, micro_tokens=min(1, settings.micro_tokens)), few, larger=larger)


def loss_of(
    vectors_ND: Tensor, *, settings: Settings, teacher_PW: Tensor | None = None, larger_ND: Tensor | None = None
) -> Tensor:
    """The loss of this process's part of a batch, a scalar. The parts of all processes add up.

    `vectors_ND`: vectors of its texts, then of its codes (all twice for "dropout"). `teacher_PW`: the teacher's vectors of its
    texts. The encoder's similarities are pulled towards the teacher's. `larger_ND`: the vectors of a larger encoder, to which
    the encoder's own are pulled.
    """
    once = partial(tiled_loss, temperature=settings.temperature, negatives=settings.negatives)
    loss = partial(matryoshka_loss, loss=once, dims=settings.matryoshka_dims, weights=settings.matryoshka_weights)
    parts = 2 if settings.positives == "pairs" else 4
    sides = [processes.gather_with_gradient(side) for side in vectors_ND.chunk(parts)]
    total = loss(*sides) if parts == 2 else (loss(*sides[::2]) + loss(*sides[1::2])) / 2
    if teacher_PW is not None and settings.teacher_weight:
        targets_PW = processes.gather_with_gradient(teacher_PW)
        taught = teaching_loss(sides[0], targets_PW, temperature=settings.teacher_temperature)
        total = total + settings.teacher_weight * taught
    if larger_ND is not None:
        targets_ND = torch.cat([processes.gather_with_gradient(side) for side in larger_ND.chunk(parts)])
        total = total + settings.distil_weight * distillation_loss(torch.cat(sides), targets_ND)
    return total / processes.world()


def _on_device(teacher_PW: np.ndarray | None, encoder: Encoder) -> Tensor | None:
    return None if teacher_PW is None else sent(torch.from_numpy(teacher_PW), encoder.wte.weight.device).float()


def check(settings: Settings, tokens: Tokens, config: Config, tokenizer: Tokenizer) -> None:
    """CodesageError when a phase, the tokens, the shape of the encoder and the tokenizer do not fit each other."""
    pairs = settings.batches
    tokens.check(tokenizer)
    if tokenizer.vocab_size != config.vocab_size:
        raise CodesageError(
            f"the tokenizer has {tokenizer.vocab_size} entries, the encoder {config.vocab_size}: use the "
            "encoder's own tokenizer"
        )
    name = "code_tokens" if pairs.code_tokens >= pairs.text_tokens else "text_tokens"
    if getattr(pairs, name) > config.max_position_embeddings:
        raise CodesageError(
            f"{name} is {getattr(pairs, name)}, but the encoder has {config.max_position_embeddings} positions: lower {name}"
        )
    if settings.depth is not None and not 0 <= settings.depth <= config.num_hidden_layers:
        raise CodesageError(f"depth is {settings.depth}, expected 0 to {config.num_hidden_layers}, the encoder's layers")
    dropouts = [config.embedding_dropout_prob]
    if settings.depth != 0:
        dropouts += [config.attention_dropout_prob, config.residual_dropout_prob]
    if settings.positives == "dropout" and not any(dropouts):
        raise CodesageError(
            "positives are 'dropout', but the encoder has no dropout, so both vectors would be equal: set "
            "the encoder's dropout or use positives 'pairs'"
        )
    if pairs.batch_pairs < 2 * processes.world():
        raise CodesageError(f"batch_pairs is {pairs.batch_pairs} for {processes.world()} processes: expected 2 per process")
    check_dims(settings.matryoshka_dims, settings.matryoshka_weights, config.vector_width)


@contextmanager
def _bypassed(encoder: Encoder, depth: int | None) -> Iterator[None]:
    """Freeze the blocks beyond this depth, so that neither weight decay nor the sum over processes changes them."""
    frozen = [] if depth is None else [parameter for block in encoder.h[depth:] for parameter in block.parameters()]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def _identity(phase: Settings) -> dict:
    """The settings that a resumed phase must share with the interrupted one; micro-batches may differ."""
    return {name: value for name, value in asdict(phase).items() if name not in ("loop", "first", "micro_tokens", "cached")}


def _flops(encoder: Encoder, phase: Settings, batches: Batches) -> float:
    """Operations per token, measured on the first batch; 0 if the blocks are bypassed."""
    if phase.depth == 0:
        return 0.0
    return estimate.flops_per_token(encoder.config, length=mean_length(batches.at(0)))


def mean_length(batch: Batch) -> float:
    """The mean number of tokens that a token attends to."""
    return _attended(stacked(batch.texts, batch.codes).lengths)


def _attended(length_N: np.ndarray) -> float:
    return float((length_N**2).sum() / length_N.sum())
