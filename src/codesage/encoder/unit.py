"""Vectors of unit length."""

import numpy as np


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Floating-point `vectors` along the last axis, scaled to length 1, in their dtype. Zeros stay zeros."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(np.finfo(vectors.dtype).tiny)
