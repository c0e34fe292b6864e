"""Component analysis: the same small training with one thing changed at a time (paper, section of ablations)."""
