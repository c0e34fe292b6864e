"""Stage II: bimodal contrastive learning (paper section 3.2). Tokenised pairs and an encoder in, an embedding model out.

A run is one phase or several, each with settings of its own: the blocks may be bypassed at first (depth 0), which trains
the embedding on a hundred times as many pairs a second, and join later as a small correction of it (`residual_scale`).
"""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codesage.artifacts import Artifact, open_artifact
from codesage.contrast import cached
from codesage.contrast.batches import Batch, Batches
from codesage.contrast.batches import Settings as BatchSettings
from codesage.contrast.loss import NEGATIVES
from codesage.contrast.matryoshka import check_dims, matryoshka_loss
from codesage.contrast.teacher import Teacher, teaching_loss
from codesage.contrast.tiled import tiled_loss
from codesage.contrast.vectors import embed, stacked, taken
from codesage.corpus.tokens.tokenised import Tokens
from codesage.encoder.model import Encoder
from codesage.encoder.weights import save_weights
from codesage.errors import CodesageError
from codesage.tokenizer import Tokenizer
from codesage.training import estimate, loop, precision, processes, retrieval
from codesage.training.estimate import Estimate

POSITIVES = ("pairs", "dropout")


@dataclass(frozen=True, slots=True)
class Settings:
    """A phase of Stage II. Published: temperature and what `batches` names; the rest is our choice."""

    loop: loop.Settings
    batches: BatchSettings = field(default_factory=BatchSettings)
    temperature: float = 0.05
    negatives: str = "softmax"  # how in-batch negatives are weighted, see contrastive_loss
    positives: str = "pairs"  # "dropout": each text and each code with itself, dropout drawn twice (an ablation)
    matryoshka_dims: tuple[int, ...] = ()  # widths that vectors may be cut to, the encoder's last; (): only whole
    matryoshka_weights: tuple[float, ...] = ()  # of the loss at each width; (): all 1
    teacher_weight: float = 1.0  # of the teaching loss beside the contrastive one, where there is a teacher
    teacher_temperature: float = 0.05  # of the similarities that are compared with the teacher's
    micro_tokens: int = 0  # tokens that are embedded at a time; 0: the whole batch
    cached: bool = True  # with micro_tokens: memory of one micro-batch for a second forward, see contrast.cached
    depth: int | None = None  # blocks that are used: None all, 0 the embedding alone
    residual_scale: float = 1.0  # multiplies what every block adds, once, before this phase: its c_proj weights and biases
    first: "Settings | None" = None  # the phase before this one

    def __post_init__(self) -> None:
        for name, allowed in (("negatives", NEGATIVES), ("positives", POSITIVES)):
            if getattr(self, name) not in allowed:
                raise CodesageError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(allowed)}")
        if self.temperature <= 0 or self.residual_scale <= 0 or self.micro_tokens < 0:
            raise CodesageError(f"temperature {self.temperature}, residual_scale {self.residual_scale}, micro_tokens "
                                f"{self.micro_tokens}: expected the first two over 0, the last not negative")  # fmt: skip
        if self.teacher_weight < 0 or self.teacher_temperature <= 0:
            raise CodesageError(f"teacher_weight {self.teacher_weight}, teacher_temperature {self.teacher_temperature}: "
                                "expected a weight that is not negative and a temperature over 0")  # fmt: skip
        if self.depth == 0 and self.residual_scale != 1:
            raise CodesageError(f"residual_scale is {self.residual_scale}, but with depth 0 no block adds anything: give it "
                                "to the phase that uses the blocks")  # fmt: skip

    def phases(self) -> dict[str, "Settings"]:
        """All phases by name, first to last: "shallow" for depth 0, else "contrast", numbered from the second on."""
        chain, found = [self], {}
        while chain[0].first is not None:
            chain.insert(0, chain[0].first)
        for phase in chain:
            name = "shallow" if phase.depth == 0 else "contrast"
            same = sum(known.split("-")[0] == name for known in found)
            found[f"{name}-{same + 1}" if same else name] = phase
        return found


def one_phase(settings: Settings) -> Settings:
    """`settings` without the phases before the last, which gets their time: for a model whose blocks have had Stage II."""
    seconds = sum(phase.loop.seconds for phase in settings.phases().values())
    return replace(settings, loop=replace(settings.loop, seconds=seconds), first=None, residual_scale=1.0)


def run(
    settings: Settings, tokens: Tokens, encoder: Encoder, *, tokenizer: Tokenizer, out: Path | str,
    before: Artifact | None = None, checkpoints: Path | None = None, resume: bool = True, keep: np.ndarray | None = None,
    mined: np.ndarray | None = None, teacher: Teacher | None = None,
) -> Artifact:  # fmt: skip
    """Train `encoder` in place on the pairs of `tokens` and publish it at `out` (an artifact of kind "model").

    `before` is the Stage I model it starts from (None: from scratch), for the record; `checkpoints` and `resume` as in
    training.loop.train; `keep` is the mask that contrast.filtering gives, bool, one of each pair; `mined` what
    contrast.mining gives; `teacher` what contrast.teacher gives. Raises CodesageError when there are fewer than two pairs,
    or settings, tokenizer, lengths and encoder do not fit each other, before training time is spent.
    """
    phases = settings.phases()
    drawn = {}
    for name, phase in phases.items():
        check(phase, tokens, encoder, tokenizer)
        drawn[name] = Batches(tokens, phase.batches, consistent=keep, tokenizer=tokenizer, mined=mined,
                              teacher_PW=None if teacher is None else teacher.texts_PW)  # fmt: skip
    needed = estimate.run_bytes(encoder.config, keep=len(phases) * settings.loop.keep if checkpoints else -1)
    estimate.require_disk(checkpoints or Path(out).absolute().parent, needed)
    facts = dict(before.facts) if before else {"stages": []}
    facts["stages"] = [*facts["stages"], "contrast"]
    longest = {side: max(getattr(phase.batches, side) for phase in phases.values()) for side in ("text_tokens", "code_tokens")}
    facts["max_tokens"] = max(settings.batches.code_tokens, facts.get("max_tokens", 0))
    facts["matryoshka_dims"] = list(settings.matryoshka_dims)
    recorded = {**(before.settings if before else {}), "contrast": asdict(settings), "encoder": asdict(encoder.config)}
    origin = {"encoder": asdict(encoder.config), "tokens": tokens.fingerprint, "tokenizer": tokenizer.fingerprint,
              "before": before.fingerprint if before else "",
              "kept": "" if keep is None else int(np.asarray(keep).sum()),
              "mined": "" if mined is None else hashlib.sha256(mined.tobytes()).hexdigest(),
              "teacher": "" if teacher is None else teacher.fingerprint}  # fmt: skip
    _tell(drawn)
    if teacher is not None:
        facts["teacher"] = teacher.facts
    facts["mixture"] = [part.facts for part in drawn[list(drawn)[-1]].parts]
    with processes.published(out, "model", settings=recorded, facts=facts) as folder:
        for name, phase in phases.items():
            torch.manual_seed(phase.loop.seed + processes.rank())  # each process drops other things out
            encoder.scale_residuals(phase.residual_scale)
            with _bypassed(encoder, phase.depth):
                done = loop.train(encoder, phase.loop, loop.Run(
                    batches=_Share(drawn[name]), gradients_of=partial(gradients, encoder, phase),
                    warm_up=partial(warm_up, encoder, phase), folder=folder, stage=name, checkpoints=checkpoints, resume=resume,
                    evaluate=retrieval.scorer(encoder, tokens, **longest, depth=phase.depth),
                    identity={**origin, "settings": _identity(phase)}, flops_per_token=_flops(encoder, phase, drawn[name]),
                ))  # fmt: skip
            facts[name] = {**done, "pairs_seen": done["steps"] * drawn[name].at(0).pair_P.size}
        whole = processes.unsharded(encoder)
        if processes.rank() == 0:
            save_weights(whole, folder)
            tokenizer.save(folder)
    return open_artifact(out, "model")


def _tell(drawn: dict[str, Batches]) -> None:
    """Say on stderr what each phase is about to learn from."""
    if processes.rank() == 0:
        for name, batches in drawn.items():
            print("\n".join(f"codesage: {name}: {line}" for line in batches.lines()), file=sys.stderr, flush=True)


def expected(
    settings: Settings, tokens: Tokens, encoder: Encoder, *, keep: np.ndarray | None = None,
    tokenizer: Tokenizer | None = None, mined: np.ndarray | None = None,
) -> dict[str, Estimate]:  # fmt: skip
    """What each phase will cost, by name: what `--dry-run` prints. Nothing is trained.

    With the tokenizer CodesageError as in `run`, when settings, tokens and encoder do not fit each other.
    """
    found, device, config, world = {}, encoder.wte.weight.device, encoder.config, processes.world()
    for name, phase in settings.phases().items():
        if tokenizer is not None:
            check(phase, tokens, encoder, tokenizer)
        batch = Batches(tokens, phase.batches, consistent=keep, tokenizer=tokenizer, mined=mined).at(0)
        step_tokens, pairs = len(batch.texts.ids) + len(batch.codes.ids), len(batch.pair_P)
        depth = config.num_hidden_layers if phase.depth is None else phase.depth
        blocks = step_tokens * estimate.flops_per_token(config, length=mean_length(batch)) * depth / config.num_hidden_layers
        loss = 4 * (2 * pairs) ** 2 * config.hidden_size  # of all pairs, which every process computes
        found[name] = estimate.estimate(
            config, step_tokens=step_tokens, step_flops=blocks + world * loss,
            micro_tokens=phase.micro_tokens if phase.cached and phase.micro_tokens else step_tokens,
            steps=phase.loop.steps, seconds=phase.loop.seconds, device=device, keep=phase.loop.keep, world=world,
            bf16=precision.autocast(phase.loop.precision, device).fast_dtype is not None,
        )  # fmt: skip
    return found


def gradients(encoder: Encoder, settings: Settings, batch: Batch) -> tuple[Tensor, int]:
    """Leave the gradients of this process's part of a batch in `.grad`; returns its part of the loss, and its tokens.

    The loss of the global batch is computed from the gathered vectors by every process, a `world`-th of it each, so
    that parts add up, as training.processes asks.
    """
    documents = stacked(batch.texts, batch.codes)
    twice = settings.positives == "dropout"
    if twice:
        documents = stacked(documents, documents)
    rows = cached.micro_batches(documents.lengths.tolist(), tokens=settings.micro_tokens)
    if processes.is_sharded(encoder):
        most = max(processes.gather_objects(len(rows)))
        rows = cached.micro_batches(documents.lengths.tolist(), tokens=settings.micro_tokens, at_least=most)
    loss = cached.backward(
        lambda micro: embed(encoder, taken(documents, micro), depth=settings.depth), rows,
        partial(loss_of, settings=settings, teacher_PW=_on_device(batch.teacher_PW, encoder)), cached=settings.cached,
    )  # fmt: skip
    return loss, len(documents.ids)


def warm_up(encoder: Encoder, settings: Settings, batch: Batch) -> None:
    """`gradients` of two pairs of a batch, each document a micro-batch where there may be several.

    So the blocks run in all the forms a step may use, those without gradients included.
    """
    rows = np.arange(len(batch.pair_P))[:2]
    few = Batch(taken(batch.texts, rows), taken(batch.codes, rows), batch.pair_P[rows], batch.partner_P[rows],
                None if batch.teacher_PW is None else batch.teacher_PW[rows])  # fmt: skip
    gradients(encoder, replace(settings, micro_tokens=min(1, settings.micro_tokens)), few)


def loss_of(vectors_ND: Tensor, *, settings: Settings, teacher_PW: Tensor | None = None) -> Tensor:
    """This process's part of the loss: `vectors_ND` are those of its texts, then those of its codes (twice: dropout).

    `teacher_PW`: the teacher's vectors of its texts, whose similarities the encoder's are pulled towards.
    """
    once = partial(tiled_loss, temperature=settings.temperature, negatives=settings.negatives)
    loss = partial(matryoshka_loss, loss=once, dims=settings.matryoshka_dims, weights=settings.matryoshka_weights)
    sides = [processes.gather_with_gradient(side) for side in vectors_ND.chunk(2 if settings.positives == "pairs" else 4)]
    if settings.positives == "pairs":
        total = loss(*sides)
        if teacher_PW is not None and settings.teacher_weight:
            targets_PW = processes.gather_with_gradient(teacher_PW)
            taught = teaching_loss(sides[0], targets_PW, temperature=settings.teacher_temperature)
            total = total + settings.teacher_weight * taught
        return total / processes.world()
    text, code, text_again, code_again = sides
    return (loss(text, text_again) + loss(code, code_again)) / 2 / processes.world()


def _on_device(teacher_PW: np.ndarray | None, encoder: Encoder) -> Tensor | None:
    return None if teacher_PW is None else torch.from_numpy(teacher_PW).to(encoder.wte.weight.device).float()


def check(settings: Settings, tokens: Tokens, encoder: Encoder, tokenizer: Tokenizer) -> None:
    """CodesageError when a phase, the tokens, the encoder and the tokenizer do not fit each other."""
    config, pairs = encoder.config, settings.batches
    if tokens.facts.get("tokenizer") != tokenizer.fingerprint:
        raise CodesageError(f"{tokens.path} was made with another tokenizer than the model's: run 'codesage tokens' again "
                            "with that of the model")  # fmt: skip
    if tokenizer.vocab_size != config.vocab_size:
        raise CodesageError(f"the tokenizer has {tokenizer.vocab_size} entries, the encoder {config.vocab_size}: use the "
                            "tokenizer the encoder was made with")  # fmt: skip
    longest = max(pairs.text_tokens, pairs.code_tokens)
    if longest > config.max_position_embeddings:
        raise CodesageError(f"texts of {longest} tokens, but the encoder has {config.max_position_embeddings} positions: "
                            "lower code_tokens")  # fmt: skip
    if settings.depth is not None and not 0 <= settings.depth <= config.num_hidden_layers:
        raise CodesageError(f"depth is {settings.depth}, expected 0 to {config.num_hidden_layers}, the encoder's layers")
    dropouts = [config.embedding_dropout_prob]
    if settings.depth != 0:
        dropouts += [config.attention_dropout_prob, config.residual_dropout_prob]
    if settings.positives == "dropout" and not any(dropouts):
        raise CodesageError("positives are 'dropout', but the encoder has none: every vector would be its own copy, set "
                            "the encoder's dropout or take positives 'pairs'")  # fmt: skip
    if pairs.batch_pairs < 2 * processes.world():
        raise CodesageError(f"batch_pairs is {pairs.batch_pairs} for {processes.world()} processes: expected 2 pairs each")
    check_dims(settings.matryoshka_dims, settings.matryoshka_weights, config.hidden_size)


@dataclass(frozen=True, slots=True)
class _Share:
    """This process's part of each batch."""

    whole: Batches

    def at(self, step: int) -> Batch:
        return self.whole.at(step, rank=processes.rank(), world=processes.world())


@contextmanager
def _bypassed(encoder: Encoder, depth: int | None) -> Iterator[None]:
    """Freeze the blocks that this depth does not reach: no decay, and no sum over processes, may move them."""
    frozen = [] if depth is None else [parameter for block in encoder.h[depth:] for parameter in block.parameters()]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def _identity(phase: Settings) -> dict:
    """What a resumed phase must share with the one that was killed; how it is cut into micro-batches may differ."""
    return {name: value for name, value in asdict(phase).items() if name not in ("loop", "first", "micro_tokens", "cached")}


def _flops(encoder: Encoder, phase: Settings, drawn: Batches) -> float:
    """Operations a token, 0 where the blocks are bypassed; the first batch stands for all."""
    if phase.depth == 0:
        return 0.0
    return estimate.flops_per_token(encoder.config, length=mean_length(drawn.at(0)))


def mean_length(batch: Batch) -> float:
    """How many tokens a token attends to, on average."""
    lengths = stacked(batch.texts, batch.codes).lengths
    return float((lengths**2).sum() / lengths.sum())
