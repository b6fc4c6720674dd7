"""Correction for many comparisons, and intervals over what was really independent."""

from __future__ import annotations

import numpy as np
import pytest

from excise.metrics.several import clustered_interval, holm, holm_of_known


def test_holm_equals_its_definition():
    p = [0.01, 0.04, 0.03, 0.2]
    assert holm(p) == pytest.approx([0.04, 0.09, 0.09, 0.2])
    assert holm([]) == [] and holm([0.5]) == [0.5]
    # what could not be compared does not count
    assert holm_of_known([0.01, None, 0.04, 0.03, None, 0.2]) == pytest.approx([0.04, None, 0.09, 0.09, None, 0.2])
    assert holm_of_known([None]) == [None]


def test_prompts_that_share_a_unit_do_not_narrow_the_interval():
    means = np.array([0.1, 0.5, 0.3, 0.4])
    few, many = (clustered_interval(np.repeat(means[:, None], k, 1)) for k in (2, 200))
    assert few == many and few[0] < means.mean() < few[1]


def test_the_interval_is_that_of_a_bootstrap_by_hand():
    rng = np.random.default_rng(1)
    values = (rng.random((6, 30)) < np.linspace(0.1, 0.8, 6)[:, None]).astype(float)
    values[0, :5] = np.nan
    units = np.nanmean(values, 1)
    drawn = units[rng.integers(0, 6, (40_000, 6))].mean(1)
    assert clustered_interval(values) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.01)


def test_one_unit_says_nothing_and_equal_ones_no_spread():
    with pytest.raises(ValueError, match="at least two"):
        clustered_interval(np.ones((1, 50)))
    assert clustered_interval(np.full((3, 4), 0.5)) == (0.5, 0.5)
    table = np.array([[0.0, 1.0], [np.nan, np.nan], [1.0, 1.0]])
    assert clustered_interval(table) == clustered_interval(table[[0, 2]])
