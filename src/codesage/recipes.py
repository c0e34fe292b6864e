"""Named runs: from a size to the settings of both stages.

small, base and large carry the published hyper-parameters; nano and mini scale them to devices a person has. One dial,
the size; everything that is not listed here is the default of its station.
"""

from codesage.contrast import stage as contrast
from codesage.contrast.batches import Settings as BatchSettings
from codesage.encoder.config import SIZES, Config
from codesage.pretrain import examples
from codesage.pretrain import stage as pretrain
from codesage.training import loop

_ON_CPU = {"toy", "nano", "mini"}
_MICRO_TOKENS = {"small": 65_536, "base": 32_768, "large": 16_384}  # what a device of 80 GB holds with ease
TOY = Config(64, 2, 2, vocab_size=2_048, max_position_embeddings=512)  # proves the path in seconds, learns little


def encoder_of(size: str) -> Config:
    """The shape of a size; the sizes of our own train without dropout, since they see each example about once."""
    config = TOY if size == "toy" else SIZES[size]
    return config.without_dropout() if size in _ON_CPU else config


def initial_of(size: str) -> str:
    """Where the weights of a size start: published sizes from N(0, 0.02), ours from words (encoder.lexical)."""
    return "lexical" if size in _ON_CPU else "normal"


def pretraining(size: str, *, seconds: float = 0.0, seed: int = 0) -> pretrain.Settings:
    """Stage I of a size (paper section 4.1 for small, base, large); `seconds` also bounds its time."""
    if size in _ON_CPU:
        return pretrain.Settings(
            encoder_of(size),
            examples.Settings(max_tokens=256, batch_tokens=4_096, seed=seed),
            loop.Settings(100_000, 3_000, 2e-3, seconds=seconds, seed=seed),
            micro_tokens=4_096,
        )
    return pretrain.Settings(
        encoder_of(size),
        examples.Settings(seed=seed),
        loop.Settings(250_000, 5_000, 3e-4, seconds=seconds, shard=size == "large", seed=seed),
        micro_tokens=_MICRO_TOKENS[size],
    )


def contrasting(size: str, *, seconds: float = 0.0, seed: int = 0) -> contrast.Settings:
    """Stage II of a size (paper section 4.1 for small, base, large); `seconds` also bounds its time."""
    if size in _ON_CPU:
        # A CPU sees too few pairs to move all blocks: half of the time goes to the embedding alone, which sees a
        # hundred times as many (docs/log.md). The printed weights stayed at 2 ln 2 here: every vector alike.
        batch = {"text_tokens": 32, "code_tokens": 96, "seed": seed}
        first = contrast.Settings(
            loop.Settings(100_000 if seconds else 500, 2_000 if seconds else 10, 1e-2, seconds=0.5 * seconds,
                          weight_decay=0.0, seed=seed),
            BatchSettings(batch_pairs=256, **batch), negatives="uniform", depth=0,
        )  # fmt: skip
        return contrast.Settings(
            loop.Settings(100_000, 10_000, 3e-4, seconds=0.5 * seconds, seed=seed),
            BatchSettings(batch_pairs=128, **batch), negatives="uniform", first=first,
        )  # fmt: skip
    return contrast.Settings(
        loop.Settings(20_000, 500, 5e-6, seconds=seconds, seed=seed),
        BatchSettings(seed=seed),
        micro_tokens=_MICRO_TOKENS[size],
    )
