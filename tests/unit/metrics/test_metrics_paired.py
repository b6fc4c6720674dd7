from math import comb

import numpy as np
import pandas as pd
import pytest

from excise.metrics import paired_difference
from excise.metrics.paired import Z95, score_interval

NAMES = {"first": "esd", "second": "p_esd"}


def verdicts(marks: str) -> pd.DataFrame:
    words = {"h": "hit", ".": "clear", "f": "failed", "d": "dropped"}
    rows = [(f"p{i}", int(m in "h."), int(m == "h"), words[m]) for i, m in enumerate(marks)]
    return pd.DataFrame(rows, columns=["prompt_id", "images", "hits", "verdict"])


def score_statistic(b: int, c: int, n: int, d: float) -> float:
    """The same statistic the long way: maximise the trinomial likelihood under the constraint on a fine grid."""
    q = np.linspace(max(0, -d), (1 - d) / 2, 400_001)[1:-1]
    likelihood = b * np.log(q + d) + c * np.log(q) + (n - b - c) * np.log1p(-2 * q - d)
    best = q[np.argmax(likelihood)]
    return (b - c - n * d) / np.sqrt(n * (2 * best + d - d * d))


@pytest.mark.parametrize(("b", "c", "n"), [(7, 2, 40), (1, 12, 40), (3, 3, 9), (5, 1, 6)])
def test_score_interval_inverts_the_score_test(b, c, n):
    low, high = score_interval(b, c, n)
    assert low < (b - c) / n < high
    assert score_statistic(b, c, n, low) == pytest.approx(Z95, abs=2e-3)
    assert score_statistic(b, c, n, high) == pytest.approx(-Z95, abs=2e-3)


def test_interval_is_never_a_point_nor_out_of_range():
    for n in (1, 2, 5, 12):
        for b in range(n + 1):
            for c in range(n + 1 - b):
                low, high = score_interval(b, c, n)
                assert -1 <= low <= (b - c) / n <= high <= 1
                assert high - low > 0.1
                assert score_interval(c, b, n) == pytest.approx((-high, -low))


def test_without_differing_pairs_the_interval_is_known():
    assert score_interval(0, 0, 40) == pytest.approx((-(Z95**2) / (40 + Z95**2), Z95**2 / (40 + Z95**2)))


def test_interval_covers_at_its_level():
    """Exact coverage over all outcomes of 20 pairs, for three truths."""
    n = 20
    for p10, p01 in ((0.3, 0.1), (0.05, 0.05), (0.5, 0.0)):
        covered = 0.0
        for b in range(n + 1):
            for c in range(n + 1 - b):
                chance = comb(n, b) * comb(n - b, c) * p10**b * p01**c * (1 - p10 - p01) ** (n - b - c)
                if chance > 1e-9:
                    low, high = score_interval(b, c, n)
                    covered += chance * (low <= p10 - p01 <= high)
        assert covered > 0.92


def test_agrees_with_a_bootstrap_over_prompts_where_there_are_many():
    from scipy.stats import bootstrap

    first, second = np.repeat([1, 1, 0, 0], [80, 90, 30, 200]), np.repeat([1, 0, 1, 0], [80, 90, 30, 200])
    found = paired_difference(
        verdicts("".join(".h"[x] for x in first)), verdicts("".join(".h"[x] for x in second)), **NAMES
    )
    drawn = bootstrap((first - second,), np.mean, n_resamples=2000, rng=np.random.default_rng(0), method="percentile")
    assert (found.low, found.high) == pytest.approx(tuple(drawn.confidence_interval), abs=0.01)
    assert found.difference == pytest.approx(0.15)


def test_exact_mcnemar_is_the_binomial_test_on_differing_pairs():
    found = paired_difference(verdicts("hhhhhhh.."), verdicts(".......h."), **NAMES)
    assert (found.first_only, found.second_only, found.n) == (7, 1, 9)
    assert found.p_value == pytest.approx(2 * (comb(8, 0) + comb(8, 1)) / 2**8)
    assert paired_difference(verdicts("h.h"), verdicts("h.h"), **NAMES).p_value == 1


def test_only_prompts_judged_in_both_count():
    found = paired_difference(verdicts("hh.fd"), verdicts("h.f.h"), **NAMES)
    assert (found.n, found.first_only, found.second_only, found.difference) == (2, 1, 0, 0.5)


def test_prompts_are_matched_by_id_not_by_row():
    first, second = verdicts("hh..h"), verdicts(".h..h")
    assert paired_difference(first, second.sample(frac=1, random_state=1), **NAMES) == paired_difference(
        first, second, **NAMES
    )


def test_no_common_prompt_gives_none():
    found = paired_difference(verdicts("hf"), verdicts("fh"), **NAMES)
    assert (found.n, found.difference, found.low, found.high, found.p_value) == (0, None, None, None, None)


@pytest.mark.parametrize(("seeds", "prompts"), [(3, 13), (3, 63), (5, 122), (6, 13)])
def test_prompts_that_all_differ_in_every_seed_are_no_error(seeds: int, prompts: int) -> None:
    """Means over seeds sum to the number of prompts but for rounding."""
    only_first = sum(1 / seeds for _ in range(seeds * prompts))
    low, high = score_interval(only_first, 0.0, prompts)
    assert high == 1.0 and 0.5 < low < 1.0
    assert score_interval(0.0, only_first, prompts) == (-high, -low)
