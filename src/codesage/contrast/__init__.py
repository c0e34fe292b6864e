"""Stage II: bimodal contrastive learning on (text, code) pairs."""


def __getattr__(name: str):  # torch is imported when the loss is first asked for
    if name == "contrastive_loss":
        from codesage.contrast.loss import contrastive_loss

        return contrastive_loss
    raise AttributeError(f"module 'codesage.contrast' has no attribute {name!r}")


__all__ = ["contrastive_loss"]
