"""Every environment in ``conf/`` is one that a run can start from."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from kedro.config import OmegaConfigLoader

from excise.attacks import AttackOptions, ThreatModel, make_attack
from excise.concepts import Concept, load_concept
from excise.erasers import EraserOptions, make_method
from excise.errors import UserError
from excise.images import DrawOptions
from excise.judges import JUDGES
from excise.masks import PruneOptions
from excise.models import ModelSpec
from excise.pipelines.ablate_pruning.variations import AblationOptions
from excise.pipelines.benchmark.nodes import BenchmarkOptions
from excise.pipelines.erase.nodes import NeuronOptions
from excise.pipelines.selection import DEFAULTS
from excise.pipelines.study_pruning.nodes import laid_over, plan_shops
from excise.pipelines.study_pruning.plan import StudyOptions
from excise.prompts import PromptOptions, build_prompts
from excise.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[3] / "conf"
BLOCKS = {
    "model": ModelSpec,
    "prompts": PromptOptions,
    "eraser": EraserOptions,
    "prune": PruneOptions,
    "neurons": NeuronOptions,
    "attack": AttackOptions,
    "draw": DrawOptions,
}
PHOTOGRAPHIC = ["sd14", "sd15", "sd21", "sdxl", "sd3", "flux"]
ENVIRONMENTS = ["base", "decent_style", "full", "small_mask", "smoke", "strongest", *PHOTOGRAPHIC]
KINDS = sorted(DEFAULTS)
GRIDS: dict[str, Any] = {"study": StudyOptions, "ablation": AblationOptions, "benchmark": BenchmarkOptions}


@cache
def configured(environment: str) -> dict[str, Any]:
    loader = OmegaConfigLoader(str(CONF), env=environment, **CONFIG_LOADER_ARGS)
    return {kind: loader[kind] for kind in ("globals", "parameters", "concepts")}


def options(environment: str) -> dict[str, Any]:
    parameters = configured(environment)["parameters"]
    given = {**parameters, **{what: parameters[f"{what}s"][parameters[what]] for what in ("eraser", "attack")}}
    return {name: block.model_validate(given[name]) for name, block in BLOCKS.items()}


def default_concept(environment: str, kind: str) -> Concept:
    configuration = configured(environment)
    return load_concept(configuration["globals"]["concepts"][kind], configuration["concepts"])


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_parameters_are_known_and_in_range(environment: str) -> None:
    given = options(environment)
    for name, described in configured(environment)["parameters"]["erasers"].items():
        assert make_method(EraserOptions.model_validate(described)) and described["method"] == name
    for name, described in configured(environment)["parameters"]["attacks"].items():
        assert make_attack(AttackOptions.model_validate(described)) and described["method"] == name
    assert given["model"].name == configured(environment)["globals"]["model"]


def test_no_environment_overwrites_the_pages_of_another() -> None:
    folders = [configured(environment)["globals"]["pages"] for environment in ENVIRONMENTS]
    assert len(set(folders)) == len(folders)
    loader = OmegaConfigLoader(str(CONF), env="sd14", **CONFIG_LOADER_ARGS)
    ends = (".rows", ".page", ".committed", ".figure", ".curves", ".leaderboard", "study.benchmark", "study.strongest")
    written = {name: entry for name, entry in loader["catalog"].items() if name.endswith(ends)}
    assert len(written) >= 14
    assert all(entry["filepath"].startswith("docs/sd14/") for entry in written.values()), written


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_concepts_have_words_for_the_budget(environment: str, kind: str) -> None:
    concept, asked = default_concept(environment, kind), options(environment)["prompts"]
    table, dropped = build_prompts(concept, asked)
    assert concept.kind == kind
    assert dropped == {"minors": 0}
    assert table[table["set"] == "target"].groupby("split").size().to_dict() == {
        split: getattr(asked, split) for split in ("fit", "tune", "test")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_zero_shot_judges_have_a_caption_for_every_label(kind: str) -> None:
    concept = default_concept("sd14", kind)
    for spec, wanted in (
        (concept.judge, concept.judge.labels),
        (concept.retain_judge, [*concept.retain_near, *concept.retain_far]),
    ):
        assert spec.name in JUDGES
        if spec.name == "clip_zero_shot":
            captions = [caption.strip() for caption in spec.options["labels"].split(",")]
            assert set(wanted) <= set(captions) and len(captions) == len(set(captions))


def test_thorough_is_nowhere_less_than_base() -> None:
    base, full = (options(environment) for environment in ("base", "full"))
    numbers = {
        (block, field): (getattr(base[block], field), value)
        for block in ("prompts", "eraser", "prune", "neurons", "attack", "draw")
        for field, value in full[block]
        if type(value) is int
    }
    assert all(thorough >= quick for quick, thorough in numbers.values()), numbers
    assert numbers["attack", "steps"][1] > numbers["attack", "steps"][0]
    assert configured("full")["parameters"]["budget"] == "full"


def test_nudity_is_kept_coarse() -> None:
    concept = default_concept("sd14", "nsfw")
    assert concept.unsafe
    assert all("adult" in word or "model" in word for word in concept.words)


def test_esd_on_the_largest_models_has_the_authors_target_for_sdxl() -> None:
    """Their code of 2024: from the concept with guidance 1, which is the blank prompt's noise and nothing beyond."""
    blank, wanted = (torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    for environment in ("sdxl", "sd3", "flux"):
        target = make_method(
            EraserOptions.model_validate(configured(environment)["parameters"]["erasers"]["esd"])
        ).target
        torch.testing.assert_close(target(blank, wanted), blank)


@pytest.mark.parametrize("environment", PHOTOGRAPHIC)
def test_a_model_that_is_not_there_says_what_to_download(environment: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        _ = options(environment)["model"].folder
    sentence = str(caught.value)
    assert "\n" not in sentence and "Download" in sentence and "model.path" in sentence


@pytest.mark.parametrize("environment", PHOTOGRAPHIC)
def test_environments_share_their_concepts(environment: str) -> None:
    """One file each, so that a word mended in one is mended in all."""
    for name in ("nudity", "van_gogh", "church"):
        assert (CONF / environment / "concepts" / f"{name}.yml").resolve() == CONF / "sd14" / "concepts" / f"{name}.yml"
    assert configured(environment)["parameters"]["budget"] == environment


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_grids_are_meant_for_the_model_and_have_words(environment: str, grid: str) -> None:
    parameters, concepts = (configured(environment)[kind] for kind in ("parameters", "concepts"))
    asked = GRIDS[grid].model_validate(parameters[grid])
    assert asked.tuned_for == parameters["model"]["name"]
    for name in asked.concepts:
        table, _ = build_prompts(load_concept(name, concepts), asked.prompts)
        counts = table[table["set"] == "target"].groupby("split").size().to_dict()
        assert counts == {split: getattr(asked.prompts, split) for split in ("fit", "tune", "test")}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("environment", PHOTOGRAPHIC)
def test_nothing_of_the_small_model_is_in_the_grids_of_others(environment: str, grid: str) -> None:
    """They draw, train and attack as a single run does; only what has no entry there is longer or of another kind."""
    parameters, concepts = (configured(environment)[kind] for kind in ("parameters", "concepts"))
    asked, single = GRIDS[grid].model_validate(parameters[grid]), options(environment)
    small = GRIDS[grid].model_validate(configured("base")["parameters"][grid])
    for name in ("steps", "guidance", "batch"):
        assert getattr(asked.draw, name) == getattr(single["draw"], name) != getattr(small.draw, name)
    for name in [asked.eraser] if grid == "ablation" else asked.studied:
        own = parameters["erasers"][name]
        assert laid_over(own, asked.instead.erasers.get(name, {})) == own
    if grid != "ablation":  # all of it is checked, and nothing is made
        given = (parameters["erasers"], parameters["attacks"], parameters["prune"], single["neurons"], 1)
        cells, settings, _ = plan_shops(asked, concepts, single["model"], *given, None, {})  # type: ignore[arg-type]
        assert {cell.concept for cell in cells} == set(asked.concepts) and list(settings.attacks) == asked.attacks
    described = [load_concept(name, concepts) for name in asked.concepts]
    assert not getattr(asked, "never_saw", {})  # base's are small models without their concepts
    for name in {*asked.attacks, getattr(asked, "learns_against", "") or asked.attacks[0]}:
        above = asked.instead.attacks.get(name, {})
        method = above.get("method", name)
        own, laid = parameters["attacks"][method], laid_over(parameters["attacks"][method], above)
        made = make_attack(AttackOptions.model_validate({"method": method, **laid}))
        assert made.threat_model != ThreatModel.IMAGE or not any(concept.unsafe for concept in described)
        assert laid.get("batch") == own.get("batch")
        if name in parameters["attacks"] and made.work(AttackOptions.model_validate(own), 1):
            assert laid["steps"] == own["steps"] and laid["options"] == own["options"]
            assert laid["steps"] > configured("base")["parameters"]["attacks"][name]["steps"]
