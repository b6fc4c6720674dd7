"""Two rates over the same prompts, compared prompt by prompt."""

from __future__ import annotations

import pandas as pd
from pydantic import Field

from .rates import Strict, judged

Z95 = 1.959963984540054  # the 97.5 % point of the normal distribution


class Difference(Strict):
    """A difference of two rates, first minus second, over the prompts judged in both."""

    first: str
    second: str
    difference: float | None
    low: float | None = Field(description="95 % interval, Tango's score method")
    high: float | None
    n: int = Field(ge=0, description="prompts judged in both")
    first_only: int = Field(ge=0, description="prompts that are a hit in the first alone")
    second_only: int = Field(ge=0)
    p_value: float | None = Field(description="exact McNemar test, two-sided")


class Paired(Difference):
    """How often the concept comes back, compared under one attack."""

    attack: str


class Kept(Difference):
    """How often what must survive is still drawn right, compared over one set of retain prompts."""

    set: str


def paired_difference(
    first_verdicts: pd.DataFrame, second_verdicts: pd.DataFrame, *, first: str, second: str
) -> Difference:
    """First minus second rate, with interval and test, over the prompts judged in both.

    Args:
        first_verdicts, second_verdicts: what ``prompt_verdicts`` returns.
        first, second: names that are carried along.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    both = judged(first_verdicts).merge(judged(second_verdicts), on="prompt_id", validate="1:1")
    names = {"first": first, "second": second}
    if both.empty:
        nothing = dict.fromkeys(("difference", "low", "high", "p_value"))
        return Difference(**names, **nothing, n=0, first_only=0, second_only=0)
    hit_first, hit_second = both["verdict_x"].eq("hit"), both["verdict_y"].eq("hit")
    b, c, n = int((hit_first & ~hit_second).sum()), int((~hit_first & hit_second).sum()), len(both)
    table = [[int((hit_first & hit_second).sum()), b], [c, int((~hit_first & ~hit_second).sum())]]
    low, high = score_interval(b, c, n)
    p_value = float(mcnemar(table, exact=True).pvalue)
    return Difference(
        **names, difference=(b - c) / n, low=low, high=high, n=n, first_only=b, second_only=c, p_value=p_value
    )


def score_interval(b: int, c: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Tango's score interval for a difference (b - c) / n of two rates over the same n pairs.

    A bootstrap over prompts collapses to a point where no pair differs, as if forty equal pairs were proof; so do Wald
    intervals. The score interval is then ±z² / (n + z²), and it holds its level at small n. It excludes zero just
    where the asymptotic McNemar test does.

    Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample design",
    Statistics in Medicine 17 (1998), 891-908.

    Args:
        b, c: pairs that are a hit in the first alone, in the second alone.
    """
    return -_upper(c, b, n, z), _upper(b, c, n, z)


def _upper(b: int, c: int, n: int, z: float) -> float:
    """The largest difference d at which the score statistic is not beyond z: (b - c - n d)² = z² n (2q + d(1 - d)).

    q is the likeliest rate of second-only pairs, given d.
    """
    from scipy.optimize import brentq

    def excess(d: float) -> float:
        linear = (2 * n - b + c) * d - b - c
        q = (max(linear**2 + 8 * n * c * d * (1 - d), 0.0) ** 0.5 - linear) / (4 * n)
        return (b - c - n * d) ** 2 - z**2 * n * (2 * q + d * (1 - d))

    estimate = (b - c) / n
    if b >= n * (1 - 1e-12):  # means over seeds are off by a hair
        return 1.0
    # without differing pairs the estimate itself solves the equation: start a hair above it
    return float(brentq(excess, estimate + 1e-9 * (1 - estimate), 1.0, xtol=1e-12))
