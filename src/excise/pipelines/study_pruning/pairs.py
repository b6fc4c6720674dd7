"""Verdicts of two models on the same prompts, over training seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from excise.metrics.paired import score_interval


def verdict_matrix(cells: pd.DataFrame, column: str = "verdicts") -> np.ndarray:
    """(seeds, prompts): 1 hit, 0 clear, NaN where nothing was judged."""
    return np.array([[{"h": 1.0, ".": 0.0}.get(v, np.nan) for v in row] for row in cells[column]])


def paired_interval(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Difference of two rates with Tango's interval, prompts as the units.

    Args:
        first, second: (seeds, prompts) verdicts; pairs are counted within a seed and averaged over seeds, so that more
            seeds steady the counts and do not count as more prompts. One seed may stand against several.

    Returns:
        Difference, low, high; NaN where no prompt was judged in both.
    """
    a, b = np.broadcast_arrays(first, second)
    both = ~(np.isnan(a) | np.isnan(b))
    n = both.any(0).sum()
    if not n:
        return (np.nan,) * 3
    weight = both / np.maximum(both.sum(0), 1)  # a prompt counts once, however many seeds judged it
    only_first, only_second = ((weight * (x > y)).sum() for x, y in ((a, b), (b, a)))
    return (only_first - only_second) / n, *score_interval(only_first, only_second, n)


def mcnemar_p(first: np.ndarray, second: np.ndarray, alternative: str = "two-sided") -> float:
    """McNemar's exact test on one training seed; NaN, where one was not judged, differs from nothing.

    Args:
        alternative: ``greater`` asks whether the first is a hit more often than the second.
    """
    from scipy.stats import binomtest

    only_first, only_second = int((first > second).sum()), int((second > first).sum())
    differing = only_first + only_second
    return float(binomtest(only_first, differing, alternative=alternative).pvalue) if differing else 1.0
