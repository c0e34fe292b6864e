"""Named runs: from a size to the settings of both stages.

small, base and large carry the published hyper-parameters; nano and mini scale them to devices a person has. One dial,
the size; everything that is not listed here is the default of its station.
"""

from codesage.contrast import stage as contrast
from codesage.encoder.config import SIZES, Config
from codesage.pretrain import examples
from codesage.pretrain import stage as pretrain
from codesage.training import loop

_ON_CPU = {"toy", "nano", "mini"}
TOY = Config(64, 2, 2, vocab_size=2_048, max_position_embeddings=512)  # proves the path in seconds, learns little


def encoder_of(size: str) -> Config:
    """The shape of a size; the sizes of our own train without dropout, since they see each example about once."""
    config = TOY if size == "toy" else SIZES[size]
    return config.without_dropout() if size in _ON_CPU else config


def pretraining(size: str, *, seconds: float = 0.0, seed: int = 0) -> pretrain.Settings:
    """Stage I of a size (paper section 4.1 for small, base, large); `seconds` also bounds its time."""
    if size in _ON_CPU:
        return pretrain.Settings(
            encoder_of(size),
            examples.Settings(max_tokens=256, batch_tokens=4_096, buffer_windows=512, seed=seed),
            loop.Settings(100_000, 3_000, 2e-3, seconds=seconds, seed=seed),
        )
    return pretrain.Settings(
        encoder_of(size), examples.Settings(seed=seed), loop.Settings(250_000, 5_000, 3e-4, seconds=seconds, seed=seed)
    )


def contrasting(size: str, *, seconds: float = 0.0, seed: int = 0) -> contrast.Settings:
    """Stage II of a size (paper section 4.1 for small, base, large); `seconds` also bounds its time."""
    if size in _ON_CPU:
        # A CPU sees too few pairs to move all blocks: half of the time goes to the embedding alone, which sees a
        # hundred times as many (docs/log.md).
        return contrast.Settings(
            loop.Settings(100_000, 10_000, 3e-4, seconds=0.5 * seconds, seed=seed),
            batch_pairs=128,
            negatives="uniform",  # the printed weights stayed at 2 ln 2 here: every vector alike
            text_tokens=32,
            code_tokens=96,
            shallow_pairs=256,
            shallow=loop.Settings(100_000 if seconds else 500, 2_000 if seconds else 10, 1e-2, seconds=0.5 * seconds,
                                  weight_decay=0.0, seed=seed),
        )  # fmt: skip
    return contrast.Settings(loop.Settings(20_000, 500, 5e-6, seconds=seconds, seed=seed))
