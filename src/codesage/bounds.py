"""Bounds of the numbers that commands take: a slip of the keys is refused in one line that names the option.

tests/test_bounds.py checks that every such option has a least and a greatest value.
"""

import math

MOST = 1_000_000_000  # of what is counted: steps, tokens, rows, answers
MOST_TOKENS = 1 << 20  # of one text
MOST_PROCESSES = 1_024
MOST_SEED = 2**32 - 1  # what all generators of random numbers take
MOST_MINUTES = 1_000_000  # about two years
MOST_SECONDS = 86_400  # a day
MOST_RATE = 10.0  # of learning
MOST_WEIGHT = 1_000.0  # of a part in a sum


def finite(number: float | None) -> float | None:
    """The value of an option, which `inf` and `nan` must not be: `nan` is neither below a least value nor above a greatest."""
    if number is not None and not math.isfinite(number):
        import typer

        raise typer.BadParameter(f"{number} is not a finite number.")
    return number
