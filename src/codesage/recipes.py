"""Named runs: from a size to the settings of both stages.

small, base and large carry the published hyper-parameters; nano and mini scale them to devices a person has. One dial,
the size; everything that is not listed here is the default of its stage.
"""

from dataclasses import replace

from codesage.contrast import stage as contrast
from codesage.contrast.batches import Settings as BatchSettings
from codesage.corpus.tokens.tokenised import Tokens
from codesage.encoder import lexical
from codesage.encoder.config import SIZES, Config
from codesage.encoder.model import Encoder
from codesage.pretrain import examples
from codesage.pretrain import stage as pretrain
from codesage.tokenizer import Tokenizer
from codesage.training import estimate, loop

_OURS = {"toy", "nano", "mini"}
# Of one forward and backward: what a GPU of 80 GB holds with ease. Gradients are the same however a batch is cut.
_LARGE = 80e9
_MICRO_TOKENS = {"toy": 262_144, "nano": 262_144, "mini": 131_072, "small": 65_536, "base": 32_768, "large": 16_384}
_CPU_MICRO_TOKENS = 4_096
_SHALLOW_PAIRS, _EPOCHS = 1_024, 4  # of the phase that bypasses the blocks
_FINE_PAIRS = 256  # a batch
# Comments and tests are many and say less about what a whole function does.
_KINDS = {"function": 1.0, "class": 1.0, "example": 1.0, "comment": 0.5, "test": 0.3}
# What the paper pairs with texts, by version: functions, and from V2 on the bodies of classes too.
_PUBLISHED_KINDS = {1: {"function": 1.0}, 2: {"function": 1.0, "class": 1.0}}
TOY = Config(64, 2, 2, vocab_size=2_048, max_position_embeddings=512)  # proves the path in seconds, learns little


def encoder_of(size: str) -> Config:
    """The shape of a size; the sizes of our own train without dropout, since they see each example about once."""
    config = TOY if size == "toy" else SIZES[size]
    return config.without_dropout() if size in _OURS else config


def initial_of(size: str) -> str:
    """Where the weights of a size start: published sizes from N(0, 0.02), ours from words (encoder.lexical)."""
    return "lexical" if size in _OURS else "normal"


def untrained(size: str, tokenizer: Tokenizer, tokens: Tokens | None, *, seed: int = 0) -> Encoder:
    """An encoder as a size starts; without tokens to count words in, from random weights."""
    shape = replace(encoder_of(size), vocab_size=tokenizer.vocab_size)
    initial = "normal" if tokens is None else initial_of(size)
    return lexical.fresh(shape, tokenizer, () if tokens is None else tokens.counted(), initial=initial, seed=seed)


def pretraining(size: str, *, seconds: float = 0.0, seed: int = 0, memory: float = 0.0) -> pretrain.Settings:
    """Stage I of a size (paper section 4.1 for small, base, large); `seconds` also bounds its time.

    `memory`: of the GPU, in bytes; 0 where there is none. It decides how our own sizes are trained, what is compiled and
    what is computed at a time; published hyper-parameters know no device.
    """
    if size in _OURS and memory:
        return pretrain.Settings(
            encoder_of(size),
            examples.Settings(max_tokens=256, batch_tokens=131_072, random_offsets=True, seed=seed),
            loop.Settings(50_000, 1_500, 2e-3, seconds=seconds, optimizer="muon", compile=True, seed=seed),
            micro_tokens=_micro_tokens(size, memory),
            initial=initial_of(size),
        )
    if size in _OURS:
        # The lexical start is kept: its rows move at a thirtieth of the rate of the blocks (docs/log.md).
        return pretrain.Settings(
            encoder_of(size),
            examples.Settings(max_tokens=256, batch_tokens=4_096, random_offsets=True, seed=seed),
            loop.Settings(100_000, 3_000, 1e-3, seconds=seconds, embedding_rate=0.03, seed=seed),
            micro_tokens=_CPU_MICRO_TOKENS,
            initial=initial_of(size),
        )
    return pretrain.Settings(
        encoder_of(size),
        examples.Settings(seed=seed),
        loop.Settings(250_000, 5_000, 3e-4, seconds=seconds, shard=size == "large", compile=memory > 0, seed=seed),
        micro_tokens=_micro_tokens(size, memory),
    )


def naming(size: str, *, seconds: float = 0.0, seed: int = 0, memory: float = 0.0) -> pretrain.Settings:
    """Stage I for `codesage names`: deobfuscation alone, with a part of the names hidden, half of which show their beginning.

    Meant to go on from a model (`codesage pretrain --names --model`): the rate is that of fine-tuning, the table of tokens
    moves little. The other arguments are those of `pretraining`.
    """
    settings = pretraining(size, seconds=seconds, seed=seed, memory=memory)
    changes = {"objective": "deobfuscation", "deobfuscation_share": (0.05, 0.4), "revealed": 0.5, "max_tokens": 256}
    return replace(
        settings,
        examples=replace(settings.examples, **changes),
        loop=replace(settings.loop, steps=1_000, warmup_steps=50, learning_rate=5e-4, embedding_rate=0.1, optimizer="adamw"),
    )


def contrasting(
    size: str, *, pairs: int, seconds: float = 0.0, seed: int = 0, memory: float = 0.0, version: int = 1
) -> contrast.Settings:
    """Stage II of a size over so many `pairs` (paper section 4.1 for small, base, large); `seconds` also bounds its time.

    The published sizes learn from functions (`version` 1), or from functions and classes (2, that of December 2024).

    On a GPU (`memory` as in `pretraining`) the whole encoder of our own sizes learns from the first step. A CPU sees too
    few pairs to move the blocks, and a few dozen steps of a common rate undo what is there: so there the embedding learns
    first, with the blocks bypassed, which sees a hundred times as many pairs a second, for at most four epochs; the whole
    encoder follows, gently. Compared, of `nano` alone (docs/log.md): on a CPU the phases, their rates, the first one's token
    dropout, the weights of comments and tests, the scale of the residuals, and the printed weights of negatives, which stay
    at 2 ln 2, every vector alike; on a GPU Muon and its rate. The rest, and all of `mini`, is chosen, not compared.
    """
    if size in _OURS and memory:
        return contrast.Settings(
            loop.Settings(20_000, 600, 1e-3, seconds=seconds, optimizer="muon", compile=True, seed=seed),
            BatchSettings(
                batch_pairs=2_048,
                text_tokens=64,
                code_tokens=256,
                hard_positives=0.4,
                documented=0.3,
                token_dropout=0.1,
                kinds=_KINDS,
                seed=seed,
            ),
            negatives="uniform",
            micro_tokens=_micro_tokens(size, memory),
        )
    if size in _OURS:
        batch = {
            "text_tokens": 32,
            "hard_positives": 0.4,
            "documented": 0.3,
            "token_dropout": 0.2,
            "kinds": _KINDS,
            "seed": seed,
        }
        steps = max(50, min(100_000, _EPOCHS * pairs // _SHALLOW_PAIRS))
        first = contrast.Settings(
            loop.Settings(steps, max(1, steps // 30), 3e-3, seconds=0.5 * seconds, weight_decay=0.0, seed=seed),
            BatchSettings(batch_pairs=_SHALLOW_PAIRS, code_tokens=128, **batch),
            negatives="uniform",
            depth=0,
        )
        return contrast.Settings(
            loop.Settings(100_000, 3_000, 2e-5, seconds=0.5 * seconds, seed=seed),
            BatchSettings(batch_pairs=256, code_tokens=64, **batch),
            negatives="uniform",
            residual_scale=0.002,
            first=first,
        )
    return contrast.Settings(
        loop.Settings(20_000, 500, 5e-6, seconds=seconds, compile=memory > 0, seed=seed),
        BatchSettings(kinds=_PUBLISHED_KINDS[version], seed=seed),
        micro_tokens=_micro_tokens(size, memory),
    )


def fine_tuning(*, pairs: int, seconds: float = 0.0, seed: int = 0, memory: float = 0.0) -> contrast.Settings:
    """Stage II from a model that has been through it: the whole encoder from the first step, with linear decay.

    The settings of the run that was measured (docs/log.md): batches of 256 pairs, texts of 48 tokens, code of 128. A CPU
    computes small parts of a batch faster than the whole, and has the memory to keep their graphs.
    """
    steps = max(20, min(100_000, _EPOCHS * pairs // _FINE_PAIRS))
    return contrast.Settings(
        loop.Settings(steps, max(1, steps // 20), 3e-4, seconds=seconds, compile=memory > 0, seed=seed),
        BatchSettings(
            batch_pairs=_FINE_PAIRS,
            text_tokens=48,
            code_tokens=128,
            hard_positives=0.5,
            documented=0.0,
            kinds=_KINDS,
            seed=seed,
        ),
        negatives="uniform",
        micro_tokens=0 if memory else _CPU_MICRO_TOKENS,
        cached=False,
    )


def _micro_tokens(size: str, memory: float) -> int:
    """In proportion to what a GPU smaller than a large one has beside weights, gradients and moments; a window at least.

    Those of `large` are counted as on one GPU: sharded over several it has room for more.
    """
    fixed = estimate.fixed_bytes(encoder_of(size))
    share = min(1.0, ((memory or _LARGE) - fixed) / (_LARGE - fixed))
    return max(1024, int(_MICRO_TOKENS[size] * share))
