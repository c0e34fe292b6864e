"""Stage II: bimodal contrastive learning on (text, code) pairs."""

import typing

if typing.TYPE_CHECKING:
    from codesage.contrast.loss import contrastive_loss


def __getattr__(name: str) -> object:  # torch is imported on the first use of the loss
    if name == "contrastive_loss":
        from codesage.contrast.loss import contrastive_loss

        return contrastive_loss
    raise AttributeError(f"module 'codesage.contrast' has no attribute {name!r}")


__all__ = ["contrastive_loss"]
