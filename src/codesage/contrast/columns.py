"""Read what a command computed for the pairs of Tokens: an array with one row per pair, in an artifact of its own."""

from pathlib import Path
from typing import Any

import numpy as np

from codesage.artifacts import Artifact, open_artifact
from codesage.corpus.tokens.tokenised import Tokens
from codesage.errors import CodesageError


def read(
    path: Path | str, tokens: Tokens, *, kind: str, command: str, file: str, dtype: Any, ndim: int, mapped: bool = False
) -> tuple[Artifact, np.ndarray]:
    """The artifact of `kind` at `path` and its array in `file`, memory-mapped if `mapped`.

    `command` wrote it. Raises CodesageError when it is missing, damaged, or made for other tokens, or when the array has
    another dtype, another number of dimensions, or not one row per pair.
    """
    artifact = open_artifact(path, kind)
    if artifact.facts.get("tokens") != tokens.fingerprint:
        raise CodesageError(f"{path} was made for other tokens than {tokens.path}: run '{command}' on these")
    try:
        column = np.load(artifact.path / file, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise CodesageError(f"{artifact.path / file} is not readable ({error}): run '{command}' again") from None
    if column.dtype != dtype or column.ndim != ndim or len(column) != len(tokens.pairs):
        raise CodesageError(
            f"{artifact.path / file} does not have one row for each of {len(tokens.pairs)} pairs: run '{command}' again"
        )
    return artifact, column
