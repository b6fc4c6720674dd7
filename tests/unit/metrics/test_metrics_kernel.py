import numpy as np
import pytest

from excise.metrics.kernel import paired_kernel_distance
from excise.metrics.utility import kernel_distance

PROMPTS = [f"p{i // 2}" for i in range(24)]  # two pictures a prompt


@pytest.fixture
def tables():
    """Prompts differ, the two pictures of one are alike, and the second model's are moved by a little."""
    draw = np.random.default_rng(0)
    base = np.repeat(draw.normal(size=(12, 5)), 2, axis=0) + 0.2 * draw.normal(size=(24, 5))
    return base, base + 0.3 + 0.1 * draw.normal(size=(24, 5))


def kernel(x, y):
    return (x @ y / len(x) + 1) ** 3


def by_hand(base, erased, prompts):
    pairs = [(i, j) for i in range(len(base)) for j in range(len(base)) if prompts[i] != prompts[j]]
    terms = [
        kernel(base[i], base[j])
        + kernel(erased[i], erased[j])
        - kernel(base[i], erased[j])
        - kernel(erased[i], base[j])
        for i, j in pairs
    ]
    return np.mean(terms)


def test_it_is_the_mean_over_pairs_of_different_prompts(tables):
    found = paired_kernel_distance(*tables, PROMPTS, "tiny")
    assert found.distance == pytest.approx(by_hand(*tables, PROMPTS)) and found.features == "tiny"
    assert found.n_first == found.n_second == 24


def test_its_error_is_the_jackknifes_over_prompts(tables):
    names = np.array(PROMPTS)
    left = [by_hand(*(t[names != p] for t in tables), names[names != p]) for p in dict.fromkeys(PROMPTS)]
    expected = np.sqrt(11 / 12 * ((left - np.mean(left)) ** 2).sum())
    assert paired_kernel_distance(*tables, PROMPTS, "tiny").deviation == pytest.approx(expected)


def test_equal_pictures_are_at_zero_whatever_the_prompts(tables):
    """Also where the prompts go round in a cycle, so that a fixed half of them is not like the other."""
    found = paired_kernel_distance(tables[0], tables[0], PROMPTS, "tiny")
    assert found.distance == pytest.approx(0, abs=1e-9) and found.deviation == pytest.approx(0, abs=1e-9)
    moved = paired_kernel_distance(*tables, PROMPTS, "tiny")
    assert moved.distance > 2 * moved.deviation > 0


def test_it_is_what_kids_statistic_tends_to_on_halves_of_the_prompts(tables):
    base, erased = tables
    draw, names, halves = np.random.default_rng(0), np.array(PROMPTS), []
    for _ in range(200):
        first = np.isin(names, draw.permutation(np.unique(names))[:6])
        rows = [np.flatnonzero(first)[draw.integers(2) :: 2], np.flatnonzero(~first)[draw.integers(2) :: 2]]
        halves.append(kernel_distance(base[rows[0]], erased[rows[1]], "tiny", subsets=20).distance)
    error = np.std(halves) / np.sqrt(len(halves))
    assert abs(np.mean(halves) - paired_kernel_distance(*tables, PROMPTS, "tiny").distance) < 4 * error


def test_tables_that_do_not_match_are_refused(tables):
    for wrong in ((tables[0], tables[1][:-1], PROMPTS), (*tables, PROMPTS[:-1]), (*tables, ["a", "b"] * 12)):
        with pytest.raises(ValueError, match="at least three prompts"):
            paired_kernel_distance(*wrong, "tiny")
