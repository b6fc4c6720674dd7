"""What is refused before anything runs, with the real job and the real configuration."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog, MemoryDataset

from excise.errors import UserError
from excise.hooks.preflight import preflight
from excise.pipelines import export, prepare, selection
from excise.pipelines.job import create_job
from excise.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[3] / "conf"


@cache
def _configuration(environment: str) -> tuple[dict[str, Any], dict[str, Any]]:
    loader = OmegaConfigLoader(str(CONF), env=environment, **CONFIG_LOADER_ARGS)
    return loader["parameters"], loader["concepts"]


class Run:
    """A run that is about to start; its configuration may be spoilt."""

    def __init__(self, environment: str, concept: str) -> None:
        self.parameters, self.concepts = copy.deepcopy(_configuration(environment))
        self.concept = self.concepts[concept]
        self.pipeline = create_job(concept)

    def check(self) -> None:
        given = {f"params:{name}": value for name, value in self.parameters.items()} | {"concepts": self.concepts}
        for what in ("erasers", "attacks"):
            given |= {f"params:{what}.{name}": value for name, value in self.parameters[what].items()}
        preflight({}, DataCatalog({name: MemoryDataset(value) for name, value in given.items()}), self.pipeline)

    def sentence(self) -> str:
        with pytest.raises(UserError) as refused:
            self.check()
        assert "\n" not in str(refused.value)
        return str(refused.value)


@pytest.fixture
def run() -> Run:
    return Run("base", "person")


@pytest.mark.parametrize("concept", ["person", "fluent", "church"])
def test_what_ships_is_accepted(concept: str) -> None:
    Run("base", concept).check()


def test_unknown_eraser(run: Run) -> None:
    run.pipeline = create_job("person", "esdd")
    assert "did you mean 'esd'?" in run.sentence()


def test_eraser_without_options(run: Run) -> None:
    del run.parameters["erasers"]["esd"]
    assert "add erasers.esd" in run.sentence()


def test_eraser_under_the_name_of_another(run: Run) -> None:
    run.parameters["erasers"]["esd"]["method"] = "uce"
    assert "erasers.esd.method is 'uce'" in run.sentence()


def test_option_that_the_eraser_does_not_have(run: Run) -> None:
    run.parameters["erasers"]["esd"]["options"] = {"negative": 1.0}
    assert run.sentence().startswith("erasers.esd.options: negative")


def test_unknown_attack(run: Run) -> None:
    run.pipeline = create_job("person", attack="unlearndifatk")
    assert "did you mean 'unlearndiffatk'?" in run.sentence()


def test_option_that_the_attack_cannot_have(run: Run) -> None:
    run.parameters["attacks"]["unlearndiffatk"]["options"]["tokens"] = 0
    assert run.sentence().startswith("attacks.unlearndiffatk.options: tokens")


@pytest.mark.parametrize("which", ["judge", "retain_judge"])
def test_unknown_judge(run: Run, which: str) -> None:
    run.concept[which]["name"] = "nobody"
    assert "no judge 'nobody'" in run.sentence()


def test_threshold_that_the_judge_never_reports(run: Run) -> None:
    run.concept["judge"]["threshold"] = 0.1
    assert "reports no score below 0.25" in run.sentence()


@pytest.mark.parametrize("retain", ["retain_near", "retain_far"])
def test_retain_label_that_the_judge_does_not_know(run: Run, retain: str) -> None:
    run.concept[retain]["unicorn"] = ["a unicorn"]
    assert "'object_probe' has no label 'unicorn'" in run.sentence()


def test_a_prompt_set_must_be_there_before_anything_runs(run: Run, tmp_path: Path) -> None:
    run.concept["prompts_from"] = {"set": "i2pp"}
    assert "did you mean 'i2p'?" in run.sentence()
    run.concept["prompts_from"] = {"set": "i2p", "file": str(tmp_path / "i2p.csv")}
    assert "There is no prompt file" in run.sentence()
    (tmp_path / "i2p.csv").write_text("prompt\na church\na barn\n")
    run.check()
    del run.concept["prompts_from"]
    run.concept["files"] = {"test": str(tmp_path / "none.csv")}
    assert "There is no prompt file" in run.sentence()


def test_only_what_is_used_is_checked(run: Run) -> None:
    run.concept["judge"]["name"] = "nobody"
    run.parameters["attacks"]["unlearndiffatk"]["method"] = "nothing"
    run.pipeline = prepare.create_pipeline(concept="person")
    run.check()


def test_stable_diffusion_needs_its_weights_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sentence = Run("sd14", "nudity").sentence()
    assert "CompVis/stable-diffusion-v1-4" in sentence and "model.path" in sentence


@pytest.mark.parametrize("concept", ["nudity", "van_gogh", "church"])
def test_stable_diffusion_needs_a_judge_too(concept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "weights" / "sd14"
    model.mkdir(parents=True)
    (model / "model_index.json").write_text("{}")  # that it is there is all that is looked at so early
    sentence = Run("sd14", concept).sentence()
    assert "clip-vit-base-patch32" in sentence and "'folder'" in sentence


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"variant": "random"}, "No 'random' is made of the eraser 'esd': set export.variant to unpruned or plus or "),
        ({"variant": "random"}, "or learned, or masks to all."),
        (
            {"variant": "plus", "eraser": "conceptprune"},
            "of the eraser 'conceptprune': set export.variant to unpruned.",
        ),
        ({"eraser": "esdd"}, "did you mean 'esd'?"),
    ],
)
def test_export_of_what_no_job_makes(
    run: Run, monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str], said: str
) -> None:
    for name, value in chosen.items():
        monkeypatch.setattr(selection, f"_{name}", value)
    run.parameters["export"]["variant"] = chosen.get("variant")
    run.pipeline = export.create_pipeline(concept="person")
    assert said in run.sentence()


def test_what_is_exported_is_known_when_pipelines_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(**chosen: str) -> set[str]:
        with monkeypatch.context() as patch:
            for name, value in chosen.items():
                patch.setattr(selection, f"_{name}", value)
            return {name for name in export.create_pipeline(concept="person").inputs() if name.endswith(".eraser")}

    assert read() == {"person.p_esd.eraser"}
    assert read(variant="unpruned", eraser="ac") == {"person.ac.eraser"}
    assert read(variant="random", masks="all") == {"person.p_esd_random.eraser"}
    assert read(eraser="conceptprune") == {"person.conceptprune.eraser"}
