import numpy as np
import pandas as pd
import pytest
from scipy import linalg, stats
from scipy.spatial import distance

from excise.metrics import clip_score, frechet_distance, retain_rate


@pytest.fixture
def features():
    draw = np.random.default_rng(0)
    mixing = draw.normal(size=(6, 6))
    return draw.normal(size=(200, 6)), 0.5 + draw.normal(size=(150, 6)) @ mixing


def test_retain_rate_counts_prompts_that_are_right():
    rows = [("a0", "a", True, False), ("a1", "a", True, False), ("b0", "b", False, False), ("c0", "c", False, True)]
    rate = retain_rate(pd.DataFrame(rows, columns=["image_id", "prompt_id", "right", "failed"]), "abcd", ["d"])
    assert (rate.n, rate.hits, rate.failed, rate.dropped) == (2, 1, 1, 1)


def test_clip_score_is_the_mean_cosine_of_matching_rows(features):
    first, second = features[0][:150], features[1]
    cosines = [1 - distance.cosine(a, b) for a, b in zip(first, second, strict=True)]
    score = clip_score(first, second, "tiny")
    assert score.mean == pytest.approx(np.mean(cosines))
    half = stats.t.ppf(0.975, 149) * np.std(cosines, ddof=1) / np.sqrt(150)
    assert (score.low, score.high) == pytest.approx((np.mean(cosines) - half, np.mean(cosines) + half))
    assert clip_score(3 * first, first, "tiny").mean == pytest.approx(1)
    assert clip_score(first[:1], second[:1], "tiny").low is None
    with pytest.raises(ValueError, match=r"\(n, d\)"):
        clip_score(first[:3], second[:4], "tiny")


def test_several_images_of_a_prompt_are_one_in_the_clip_score(features):
    first, second = features[0][:150], features[1]
    score = clip_score(first, second, "tiny", [f"p{i // 3}" for i in range(150)])
    cosines = np.array([1 - distance.cosine(a, b) for a, b in zip(first, second, strict=True)])
    means = cosines.reshape(50, 3).mean(1)
    half = stats.t.ppf(0.975, 49) * np.std(means, ddof=1) / np.sqrt(50)
    assert (score.n, score.mean) == (50, pytest.approx(means.mean()))
    assert (score.low, score.high) == pytest.approx((means.mean() - half, means.mean() + half))
    # the same picture three times is no more evidence than once
    thrice = clip_score(first.repeat(3, 0), second.repeat(3, 0), "tiny", np.arange(150).repeat(3))
    once = clip_score(first, second, "tiny")
    assert (thrice.n, thrice.low, thrice.high) == (150, pytest.approx(once.low), pytest.approx(once.high))


def test_frechet_distance_agrees_with_the_matrix_square_root(features):
    first, second = features
    a, b = np.cov(first.T), np.cov(second.T)
    root = linalg.sqrtm(a @ b).real
    expected = np.sum((first.mean(0) - second.mean(0)) ** 2) + np.trace(a + b - 2 * root)
    found = frechet_distance(first, second, "tiny")
    assert found.distance == pytest.approx(expected, rel=1e-6)
    assert (found.n_first, found.n_second, found.features) == (200, 150, "tiny")


def test_frechet_distance_of_equal_sets_is_zero_and_a_shift_adds_its_square(features):
    first, _ = features
    assert frechet_distance(first, first, "tiny").distance == pytest.approx(0, abs=1e-6)
    assert frechet_distance(first, first + 2.0, "tiny").distance == pytest.approx(4.0 * 6, rel=1e-6)


def test_kernel_distance_is_the_unbiased_mmd_of_a_cubic_kernel(features):
    from excise.metrics.utility import kernel_distance

    first, second = features

    def mmd(x, y):  # by its definition, over all pairs at once
        k = [[(a @ b / x.shape[1] + 1) ** 3 for b in y] for a in x]
        return np.array(k)

    n, m = len(first), len(second)
    xx, yy, xy = mmd(first, first), mmd(second, second), mmd(first, second)
    whole = (xx.sum() - np.trace(xx)) / n / (n - 1) + (yy.sum() - np.trace(yy)) / m / (m - 1) - 2 * xy.mean()
    found = kernel_distance(first, second, "tiny", subsets=400)
    assert abs(found.distance - whole) < 4 * found.deviation / 400**0.5 + 1e-9
    same = kernel_distance(first, first, "tiny")
    assert abs(same.distance) < abs(found.distance) or same.distance < same.deviation
    assert kernel_distance(first, second, "tiny") == kernel_distance(first, second, "tiny")
