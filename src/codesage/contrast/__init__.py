"""Stage II: bimodal contrastive learning on (text, code) pairs."""


def __getattr__(name: str):  # torch is imported on the first use of the loss
    if name == "contrastive_loss":
        from codesage.contrast.loss import contrastive_loss

        return contrastive_loss
    raise AttributeError(f"module 'codesage.contrast' has no attribute {name!r}")


__all__ = ["contrastive_loss"]
