import numpy as np
import pandas as pd
import pytest
from scipy.spatial import distance

from excise.metrics.likeness import distance_of_seeds, likeness

NEAR, FAR = "retain_near", "retain_far"


@pytest.fixture
def drawn():
    rows = [(f"{kind}{i}", kind) for kind, n in ((NEAR, 5), (FAR, 7)) for i in range(n) for _ in range(2)]
    return pd.DataFrame(rows, columns=["prompt_id", "set"])


@pytest.fixture
def features(drawn):
    draw = np.random.default_rng(0)
    return draw.normal(size=(len(drawn), 6)), draw.normal(size=(len(drawn), 6))


def test_distances_are_averaged_over_a_prompts_pictures_and_then_over_prompts(drawn, features):
    found = likeness(drawn, *features, "tiny")
    for kind, n in ((NEAR, 5), (FAR, 7)):
        rows = np.flatnonzero(drawn["set"] == kind)
        moved = [distance.cosine(features[0][i], features[1][i]) for i in rows]
        prompts = np.array(moved).reshape(n, 2).mean(1)
        drawn_again = np.random.default_rng(1).choice(prompts, (20_000, n)).mean(1)
        told = getattr(found, kind)
        assert told.n == n and told.mean == pytest.approx(prompts.mean())
        assert (told.low, told.high) == pytest.approx(np.percentile(drawn_again, [2.5, 97.5]), abs=0.02)
        assert 0 <= prompts.min() <= told.low < told.mean < told.high <= prompts.max()


def test_the_scale_is_the_distance_between_pictures_of_different_prompts(drawn, features):
    base, names = features[0], drawn["prompt_id"].tolist()
    apart = [distance.cosine(base[i], base[j]) for i in range(len(base)) for j in range(i) if names[i] != names[j]]
    assert likeness(drawn, *features, "tiny").others == pytest.approx(np.mean(apart))


def test_the_other_scale_is_the_distance_between_seeds_of_one_prompt(drawn, features):
    base = features[0]
    apart = [distance.cosine(base[i], base[i + 1]) for i in range(0, len(base), 2)]  # two pictures a prompt
    found = distance_of_seeds(drawn["prompt_id"], base)
    assert found == pytest.approx(np.mean(apart))
    assert likeness(drawn, *features, "tiny", found).another_seed == found
    assert distance_of_seeds(drawn["prompt_id"][::2], base[::2]) is None
    assert "another_seed" not in likeness(drawn, *features, "tiny").model_dump(exclude_unset=True)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_picture_without_features_is_refused_and_not_left_out(drawn, features, value):
    features[1][3] = value
    with pytest.raises(ValueError, match="not finite"):
        likeness(drawn, *features, "tiny")


def test_the_same_pictures_have_not_moved_however_bright(drawn, features):
    same = likeness(drawn, features[0], 3 * features[0], "tiny")
    assert same.retain_near.mean == pytest.approx(0, abs=1e-12) and same.retain_far.high == pytest.approx(0, abs=1e-9)


def test_a_set_that_was_not_drawn_is_left_out(drawn, features):
    near = drawn["set"] == NEAR
    found = likeness(drawn[near], *(f[near] for f in features), "tiny")
    assert found.retain_far is None and "retain_far" not in found.model_dump(exclude_unset=True)


def test_tables_that_do_not_match_are_refused(drawn, features):
    with pytest.raises(ValueError, match="pictures are needed"):
        likeness(drawn, features[0], features[1][:-1], "tiny")
    with pytest.raises(ValueError, match="two prompts"):
        likeness(drawn[:2], features[0][:2], features[1][:2], "tiny")
