"""How pictures of what must survive are compared, over pictures that a test made."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from excise.images import ImageSet
from excise.images.image_set import save_picture
from excise.metrics.summary import Survival
from excise.pipelines.report.nodes import FidelityOptions, measure_fidelity
from tiny import PROJECT

PERSON = {"name": "person"} | yaml.safe_load((PROJECT / "conf/base/concepts/person.yml").read_text())["person"]
SETS = ["retain_near"] * 6 + ["retain_far"] * 4


@pytest.fixture
def drawn(tmp_path):
    """Pictures by name of the model: noise of a seed, one a prompt, in the order asked for."""

    def draw(seed: int, order: list[int]) -> ImageSet:
        noise, rows = np.random.default_rng(seed), []
        pictures = noise.integers(0, 256, (len(SETS), 32, 32, 3), np.uint8)
        for i in order:
            file = f"{seed}-{i}.png"
            sha256 = save_picture(pictures[i], tmp_path / file)
            rows.append((f"{seed}-{i}", f"p{i}", SETS[i], "test", i, file, sha256))
        columns = ["image_id", "prompt_id", "set", "split", "seed", "file", "sha256"]
        return ImageSet(tmp_path, pd.DataFrame(rows, columns=columns))

    return draw


@pytest.fixture
def measured(drawn):
    def measure(features: str | None = None, unsafe: bool = False, order: list[int] | None = None) -> dict:
        concept = PERSON | {"unsafe": unsafe}
        prompts = pd.DataFrame([(f"p{i}", "a cat") for i in range(len(SETS))], columns=["prompt_id", "prompt"])
        every = list(range(len(SETS)))
        images = {
            "none__plain__images": drawn(0, every),
            "same__plain__images": drawn(0, order or every),
            "other__plain__images": drawn(1, every),
        }
        return measure_fidelity(concept, prompts, FidelityOptions(features=features), **images)

    return measure


@pytest.mark.parametrize("features", [None, "embedded:emoji64_clip"])
def test_the_same_pictures_have_not_moved_and_others_have(measured, features):
    found = measured(features)
    assert set(found["none"]) == set() and set(found["same"]) == {"frechet", "likeness", "kernel"}
    same, other = (Survival.model_construct(**found[n]).likeness for n in ("same", "other"))
    assert same["retain_near"]["mean"] == pytest.approx(0, abs=1e-6)
    assert other["retain_near"]["n"] == 6 and other["retain_far"]["n"] == 4
    assert other["retain_near"]["mean"] > 0.001 and same["others"] == other["others"] > 0.001
    told = {found["same"][k]["features"] for k in ("frechet", "likeness", "kernel")}
    assert len(told) == 1 and (told == {"emoji64_clip"}) == (features is not None)


def test_a_picture_is_compared_with_that_of_its_prompt_in_whatever_order(measured):
    there, back = measured(), measured(order=[7, 2, 9, 0, 1, 3, 4, 8, 6, 5])
    assert back["same"]["likeness"]["retain_near"]["mean"] == pytest.approx(0, abs=1e-6)
    assert back["other"]["likeness"] == there["other"]["likeness"]


def test_a_prompt_that_one_model_did_not_draw_is_in_no_pair(measured):
    found = measured(order=[0, 1, 2, 3, 6, 7])["same"]["likeness"]
    assert found["retain_near"]["n"] == 4 and found["retain_far"]["n"] == 2


def test_of_an_unsafe_concept_nothing_is_compared(measured):
    assert measured(unsafe=True) == {"none": {}, "same": {}, "other": {}}
