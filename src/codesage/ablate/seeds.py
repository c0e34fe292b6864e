"""Intervals over seeds, and whether a difference between two rows is larger than chance.

In: one figure per seed. Out: means, 95% intervals by Student's t, and differences of means with Welch's interval, which does
not suppose that both rows scatter alike. Seeds are taken as independent runs. The quantile of t is computed here, from the
incomplete beta function, so that nothing but numpy is needed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, or a difference of means, with its 95% interval; (-inf, inf) for fewer than two figures."""

    value: float
    low: float
    high: float
    count: int  # figures; for a difference those of the row that has fewer

    @property
    def decided(self) -> bool:
        """Whether the interval excludes 0: else there is no difference."""
        return self.low > 0 or self.high < 0


def mean(figures: Sequence[float]) -> Estimate:
    """The mean of figures and its interval. ValueError when there are none."""
    if not figures:
        raise ValueError("no figures to take a mean of")
    centre = fmean(figures)
    if len(figures) < 2:
        return Estimate(centre, -math.inf, math.inf, 1)
    half = t_quantile((1 + SHARE) / 2, len(figures) - 1) * math.sqrt(variance(figures) / len(figures))
    return Estimate(centre, centre - half, centre + half, len(figures))


def difference(one: Sequence[float], other: Sequence[float]) -> Estimate:
    """mean(one) - mean(other) and its interval (Welch). ValueError when a side is empty.

    Two rows of equal figures, each the same for all seeds, differ by exactly their difference.
    """
    if not one or not other:
        raise ValueError("no figures to compare")
    centre, count = fmean(one) - fmean(other), min(len(one), len(other))
    if count < 2:
        return Estimate(centre, -math.inf, math.inf, count)
    parts = [variance(side) / len(side) for side in (one, other)]
    if not sum(parts):
        return Estimate(centre, centre, centre, count)
    freedom = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (one, other), strict=True))
    half = t_quantile((1 + SHARE) / 2, freedom) * math.sqrt(sum(parts))
    return Estimate(centre, centre - half, centre + half, count)


def t_quantile(share: float, freedom: float) -> float:
    """The t below which the given share (0.5 to 1, exclusive) of Student's distribution lies; `freedom` over 0, any real."""
    if not 0.5 <= share < 1 or not freedom > 0:
        raise ValueError(f"share {share}, freedom {freedom}: expected 0.5 to 1 and more than 0")
    low, high = 0.0, 1.0
    while t_share(high, freedom) < share:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if t_share(middle, freedom) < share else (low, middle)
    return (low + high) / 2


def t_share(t: float, freedom: float) -> float:
    """The share of Student's distribution below `t`."""
    tail = 0.5 * incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))
    return 1 - tail if t > 0 else tail


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by Lentz's continued fraction (Numerical Recipes, 6.4)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    value = d
    for m in range(1, 500):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value
