"""Many comparisons, and results that are not independent of each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979): of those below α, the chance of any false one is below α."""
    return list(_holm(tuple(p_values))) if len(p_values) else []


@lru_cache(256)  # a report asks for the same table at several places, and each call collects the process's garbage
def _holm(p_values: tuple[float, ...]) -> tuple[float, ...]:
    from statsmodels.stats.multitest import multipletests

    return tuple(float(p) for p in multipletests(p_values, method="holm")[1])


def holm_of_known(p_values: Sequence[float | None]) -> list[float | None]:
    """The same where some comparisons could not be made: those stay None, and do not count."""
    found = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(found) for p in p_values]


def clustered_interval(values: np.ndarray, draws: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of a mean by bootstrap over what was really independent; of few units it is too narrow.

    Where one learned word serves fifty prompts, or one training fifty more, there are not fifty independent results:
    rows are resampled, prompts within them are not. Of three units the interval runs from the smallest to the largest,
    and holds the mean that they were drawn about in three of four cases: whoever shows it has to call it a range.

    Args:
        values: (units, prompts), such as a difference of verdicts a training seed; NaN where nothing was judged.

    Raises:
        ValueError: for fewer than two units, which say nothing about their spread.
    """
    from scipy.stats import bootstrap

    table = np.atleast_2d(np.asarray(values, float))
    means = np.nanmean(table[~np.isnan(table).all(1)], 1)  # a unit without a verdict says nothing
    if len(means) < 2:
        raise ValueError("a bootstrap over units needs at least two of them")
    if np.ptp(means) == 0:
        return float(means[0]), float(means[0])
    found = bootstrap((means,), np.mean, n_resamples=draws, method="percentile", rng=np.random.default_rng(seed))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
