"""How pictures of what must survive are compared, over pictures that a test made."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import save_file
from scipy.spatial.distance import cosine

from excise.concepts.concept import JudgeSpec
from excise.errors import UserError
from excise.images import ImageSet
from excise.images.image_set import save_picture
from excise.judges.clip.load import SHIPPED, load_clip
from excise.judges.probe.features import POOLED, image_features
from excise.metrics.kernel import paired_kernel_distance
from excise.metrics.lpips import BLOCKS, WIDTHS, Lpips
from excise.metrics.summary import Survival
from excise.metrics.utility import frechet_distance
from excise.pipelines.report.fidelity import FidelityOptions, measure_fidelity, usable
from tiny import PROJECT

PERSON = {"name": "person"} | yaml.safe_load((PROJECT / "conf/base/concepts/person.yml").read_text())["person"]
SETS = ["retain_near"] * 4 + ["retain_far"] * 3 + ["neutral"] * 2
WORDS = ["a cat", "a red rose", "a bee", "a church", "a fish", "a key", "a bus", "a cactus", "a robot"]
EVERY = [(prompt, seed) for prompt in range(len(SETS)) for seed in (0, 1)]
RETAIN = [(p, s) for p, s in EVERY if SETS[p] != "neutral"]


def noise(model: int) -> np.ndarray:
    """(prompt, seed, H, W, 3)"""
    return np.random.default_rng(model).integers(0, 256, (len(SETS), 2, 32, 32, 3), np.uint8)


@pytest.fixture
def drawn(tmp_path):
    """Two pictures a prompt by a model, in the order asked for."""

    def draw(model: int, order: list[tuple[int, int]]) -> ImageSet:
        pictures, rows = noise(model), []
        for prompt, seed in order:
            name = f"{model}-{prompt}-{seed}"
            sha256 = save_picture(pictures[prompt, seed], tmp_path / f"{name}.png")
            rows.append((name, f"p{prompt}", SETS[prompt], "test", seed, f"{name}.png", sha256))
        columns = ["image_id", "prompt_id", "set", "split", "seed", "file", "sha256"]
        return ImageSet(tmp_path, pd.DataFrame(rows, columns=columns))

    return draw


@pytest.fixture
def measured(drawn):
    def measure(unsafe: bool = False, order: list | None = None, base: list | None = None, **fidelity) -> dict:
        concept = PERSON | {"unsafe": unsafe}
        ids = [f"p{i}" for i in range(len(SETS))]
        prompts = pd.DataFrame({"prompt_id": ids, "set": SETS, "split": "test", "prompt": WORDS})
        images = {
            "same__plain__images": drawn(0, RETAIN if order is None else order),
            "other__plain__images": drawn(1, RETAIN),
            "none__plain__images": drawn(0, EVERY if base is None else base),
        }
        return measure_fidelity(concept, prompts, FidelityOptions(**fidelity), **images)

    return measure


def features(model: int, order: list[tuple[int, int]] = RETAIN) -> np.ndarray:
    pictures = noise(model)
    return image_features(np.stack([pictures[p, s] for p, s in order]))[:, :POOLED].numpy().astype(np.float64)


@pytest.mark.parametrize("model", [None, "embedded:emoji64_clip"])
def test_the_same_pictures_have_not_moved_and_others_have(measured, model):
    found = measured(features=model)
    assert list(found) == ["same", "other", "none"]
    assert found["none"] == {} and set(found["same"]) == set(found["other"]) == {"frechet", "likeness", "kernel"}
    same, other = found["same"], found["other"]
    assert same["likeness"]["retain_near"]["mean"] == pytest.approx(0, abs=1e-6)
    assert same["kernel"]["distance"] == pytest.approx(0, abs=1e-9)
    assert same["frechet"]["distance"] == pytest.approx(0, abs=1e-3) and other["frechet"]["distance"] > 0.1
    for name, n in {"retain_near": 4, "retain_far": 3}.items():
        assert other["likeness"][name]["n"] == n and other["likeness"][name]["mean"] > 0.001
    Survival.model_validate({**dict.fromkeys(("retain_near", "retain_far"), RATE), **other})
    [told] = {found["same"][k]["features"] for k in ("frechet", "likeness", "kernel")}
    assert told.startswith("emoji64_clip " if model else "efficientnet-lite0 ")


RATE = {"n": 1, "hits": 1, "rate": 1.0, "low": 0.2, "high": 1.0, "any_hits": 1, "dropped": 0, "failed": 0}


def test_every_number_is_that_of_the_features(measured):
    other = measured()["other"]
    base, erased, twins = features(0), features(1), features(0, [e for e in EVERY if e not in RETAIN])
    expected = frechet_distance(base, erased, "tiny").distance
    assert other["frechet"]["distance"] == pytest.approx(expected) and other["frechet"]["n_second"] == len(RETAIN)
    moved = [cosine(a, b) for a, b in zip(base, erased, strict=True)]
    assert other["likeness"]["retain_near"]["mean"] == pytest.approx(np.mean(moved[:8]), rel=1e-5)
    assert other["likeness"]["retain_far"]["mean"] == pytest.approx(np.mean(moved[8:]), rel=1e-5)
    seeds = np.mean([cosine(twins[i], twins[i + 1]) for i in (0, 2)])
    assert other["likeness"]["another_seed"] == pytest.approx(seeds, rel=1e-5)
    kernel = paired_kernel_distance(base, erased, [f"p{p}" for p, _ in RETAIN], "tiny")
    assert (other["kernel"]["distance"], other["kernel"]["n_first"]) == (pytest.approx(kernel.distance), len(RETAIN))


def test_a_picture_is_compared_with_that_of_its_prompt_and_seed_in_whatever_order(measured):
    turned = [RETAIN[i] for i in np.random.default_rng(3).permutation(len(RETAIN))]
    there, back = measured(), measured(order=turned, base=EVERY[::-1])
    assert back["same"]["likeness"]["retain_near"]["mean"] == pytest.approx(0, abs=1e-6)
    assert back["same"]["kernel"]["distance"] == pytest.approx(0, abs=1e-9)
    for kind in ("retain_near", "retain_far"):
        assert back["other"]["likeness"][kind] == pytest.approx(there["other"]["likeness"][kind], rel=1e-5)


def test_a_prompt_that_one_model_did_not_draw_is_in_no_pair(measured):
    order = [(p, s) for p, s in RETAIN if p in (0, 1, 2, 4, 5)]
    found = measured(order=order)["same"]
    assert found["likeness"]["retain_near"]["n"] == 3 and found["likeness"]["retain_far"]["n"] == 2
    assert found["kernel"]["n_first"] == len(order) == found["frechet"]["n_second"]


@pytest.mark.parametrize(
    ("count", "told"),
    [(3, set()), (4, {"frechet"}), (6, {"frechet", "likeness", "kernel"})],  # two pictures a prompt
)
def test_too_few_pictures_say_nothing(measured, count, told):
    found = measured(order=RETAIN[:count])
    assert set(found["same"]) == told and set(found["other"]) == {"frechet", "likeness", "kernel"}


def test_one_seed_a_prompt_has_no_scale_of_seeds(measured):
    found = measured(base=[(p, s) for p, s in EVERY if s == 0])["other"]["likeness"]
    assert "another_seed" not in found and found["retain_near"]["n"] == 4


def test_the_clip_score_is_of_each_picture_and_its_own_prompt(measured):
    found = measured(clip="embedded:emoji64_clip")
    clip, pictures = load_clip(SHIPPED, ""), noise(1)
    images = np.stack([pictures[p, s] for p, s in RETAIN])
    seen, said = clip.features(images, [WORDS[p] for p, _ in RETAIN])
    expected = np.mean([1 - cosine(a, b) for a, b in zip(seen, said, strict=True)])
    score = found["other"]["clip_score"]  # every prompt has as many pictures
    assert score["mean"] == pytest.approx(expected, rel=1e-5) and score["n"] == len({p for p, _ in RETAIN})
    assert found["none"]["clip_score"] == found["same"]["clip_score"] != score
    assert score["features"] == f"emoji64_clip {clip.sha256[:12]}"


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory):
    """VGG16 with weights by lot."""
    torch.manual_seed(0)
    before, held, folder = 3, {}, tmp_path_factory.mktemp("vgg16_by_lot")
    for block, width in zip(BLOCKS, WIDTHS, strict=True):
        for number in block:
            layer = torch.nn.Conv2d(before, width, 3, padding=1)
            held |= {f"features.{number}.{name}": tensor for name, tensor in layer.state_dict().items()}
            before = width
    save_file(held, folder / "model.safetensors")
    return folder


def test_lpips_is_between_pictures_of_one_prompt_and_seed_with_another_seed_beside(measured, vgg16):
    turned = [RETAIN[i] for i in np.random.default_rng(3).permutation(len(RETAIN))]
    found = measured(order=turned, lpips=str(vgg16))
    assert found["none"] == {} and found["same"]["lpips"]["retain_near"]["mean"] == 0
    distances = Lpips(vgg16).distances(*(np.stack([noise(model)[p, s] for p, s in RETAIN]) for model in (0, 1)))
    other = found["other"]["lpips"]
    assert other["retain_near"]["mean"] == pytest.approx(distances[:8].mean(), rel=1e-5)
    assert other["retain_far"]["mean"] == pytest.approx(distances[8:].mean(), rel=1e-5)
    twins = Lpips(vgg16).distances(*(np.stack([noise(0)[p, seed] for p in (7, 8)]) for seed in (0, 1)))
    assert other["another_seed"] == pytest.approx(twins.mean(), rel=1e-5)
    Survival.model_validate({**dict.fromkeys(("retain_near", "retain_far"), RATE), **found["other"]})
    alone = measured(base=[(p, s) for p, s in EVERY if s == 0], lpips=str(vgg16))["other"]["lpips"]
    assert "another_seed" not in alone and alone["retain_near"]["n"] == 4


WORDS_OF = {"flat": ["a red", "church"], "noto": ["a bee"], "fluent": ["a key"]}
STYLES = {"domain": "style", "name": "style_probe", "words": WORDS_OF}
THINGS = {"domain": "thing", "name": "object_probe"}


def test_what_prompts_say_of_another_domain_is_told_by_another_judge(measured):
    from excise.judges import make_judge

    judge = make_judge(JudgeSpec(name="style_probe", threshold=0.0))
    found = measured(cross=[THINGS, STYLES])
    for eraser, model in {"none": 0, "same": 0, "other": 1}.items():
        assert set(found[eraser]["cross"]) == {"style_probe_retain"}  # a person is a thing; no target was drawn
        cross = found[eraser]["cross"]["style_probe_retain"]
        right = 0  # of a red rose, a bee, a church and a key; the key is far, and so is the church
        for prompt, label in {1: "flat", 2: "noto", 3: "flat", 5: "fluent"}.items():
            right += all(seen[0].label == label for seen in judge.detect(noise(model)[prompt]))
        assert (cross["n"], cross["hits"], cross["labels"], cross["commonest"]) == (4, right, 3, 0.5)
        assert (cross["judge"], cross["sha256"], cross["threshold"]) == ("style_probe", judge.sha256, 0.0)
        Survival.model_validate({**dict.fromkeys(("retain_near", "retain_far"), RATE), **found[eraser]})
    assert found["none"]["cross"] == found["same"]["cross"]
    assert "cross" not in measured(cross=[STYLES | {"words": {"flat": ["in flat style"]}}])["other"]  # none says so


def test_things_are_looked_for_where_a_style_was_erased_and_in_its_own_prompts_too(drawn):
    style = {"name": "fluent"} | yaml.safe_load((PROJECT / "conf/base/concepts/fluent.yml").read_text())["fluent"]
    sets = ["target" if s == "neutral" else s for s in SETS]
    prompts = pd.DataFrame({"prompt_id": [f"p{i}" for i in range(9)], "set": sets, "split": "test", "prompt": WORDS})
    options = FidelityOptions(cross=[THINGS, STYLES])
    images = drawn(0, EVERY)
    images.manifest["set"] = images.manifest["set"].replace("neutral", "target")
    [(_, found)] = measure_fidelity(style, prompts, options, none__plain__images=images).items()
    assert {k: (v["n"], v["prompts"]) for k, v in found["cross"].items()} == {
        "object_probe_retain": (6, "retain"),  # it knows no cat
        "object_probe_target": (2, "target"),  # a cactus and a robot, each asked for in the style
    }


def test_a_prompt_that_was_not_drawn_is_not_right(measured):
    [cross] = measured(order=[(p, s) for p, s in RETAIN if p != 2], cross=[STYLES])["same"]["cross"].values()
    assert (cross["n"], cross["failed"]) == (3, 1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (STYLES | {"name": "eye"}, "There is no judge 'eye'"),
        (
            STYLES | {"words": {"oil": ["in oil"]}},
            "fidelity.cross: the judge 'style_probe' has no label 'oil': use some",
        ),
    ],
)
def test_a_judge_that_cannot_look_is_refused(wrong, said):
    with pytest.raises(UserError, match=said):
        FidelityOptions(cross=[wrong]).cross[0].ready()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([STYLES, THINGS, STYLES], "the judge 'style_probe' is there twice for the domain style"),
        ([STYLES | {"words": {"noto": [""]}}], "at least 1 character"),
        ([STYLES | {"domain": "sound"}], "'style' or 'thing'"),
    ],
)
def test_judges_that_could_not_be_told_apart_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        FidelityOptions(cross=wrong)


def test_of_an_unsafe_concept_nothing_is_compared(measured):
    assert measured(unsafe=True, clip="nowhere", cross=[STYLES]) == {"none": {}, "same": {}, "other": {}}


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_pictures_in_which_a_model_sees_nothing_are_counted_and_refused(value):
    table = np.ones((5, 3))
    assert usable(table, "fidelity.features") is table
    table[[1, 3]] = value
    with pytest.raises(UserError, match=r"The features by fidelity\.features are all zeros or no numbers for 2 of 5"):
        usable(table, "fidelity.features")
