"""Vectors of unit length, and vectors of which only the direction is kept."""

import numpy as np


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Floating-point `vectors` along the last axis, scaled to length 1, in their dtype. Zeros stay zeros."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(np.finfo(vectors.dtype).tiny)


def directions(vectors_ND: np.ndarray) -> np.ndarray:
    """The direction of each vector as int8 (n, D): its largest number becomes 127. Zeros stay zeros."""
    return np.rint(vectors_ND * (127 / np.abs(vectors_ND).max(axis=1, keepdims=True).clip(1e-12))).astype(np.int8)
