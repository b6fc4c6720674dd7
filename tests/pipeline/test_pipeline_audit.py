"""A model that was erased here, exported, and audited as if somebody else had made it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import save_file

from architectures import ARCHITECTURES, PIXELS, make_architecture
from excise.attacks import ATTACKS
from excise.erasers import Eraser
from excise.errors import UserError
from excise.exports import FORMATS
from excise.exports.folder import write_folder
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from tiny import BUDGET, JUDGE, PROJECT

pytestmark = pytest.mark.jobs

PROMPTS = BUDGET["prompts"]["test"]
LIGHT = {"attacks": "quantising"}  # no search, no training
SOME = ["seed_search", "quantising", "merging", "revival"]


def newest(project: Path, pattern: str) -> Path:
    return max(project.glob(pattern))


@pytest.fixture(scope="module")
def project(make_project) -> Path:
    return make_project()


@pytest.fixture(scope="module")
def job(project, run_job) -> dict[str, Any]:
    return run_job(project, eraser="conceptprune")  # nothing is trained, and there is a mask


@pytest.fixture(scope="module")
def exported(job, project, run_job) -> Path:
    run_job(project, pipeline="export", eraser="conceptprune", export={"dtype": "float32"})
    return newest(project, "data/06_models/emoji64/person/conceptprune/export/*/export")


@pytest.fixture(scope="module")
def audit(job, project, run_job):
    def run(path: Path | None, **params: Any) -> dict[str, Any]:
        chosen = {} if path is None else {"checkpoint": str(path)}
        run_job(project, pipeline="audit", **chosen, **params)
        return json.loads(newest(project, "data/08_reporting/emoji64/person/audit/metrics.json/*/*.json").read_text())

    return run


@pytest.fixture(scope="module")
def audited(exported, audit) -> dict[str, Any]:
    return audit(exported / FORMATS["mask"], audit={"attacks": SOME})


@pytest.fixture(scope="module")
def report(audited, project) -> str:
    """Of the audit above: a later one writes its own."""
    html = newest(project, "data/08_reporting/emoji64/person/audit/report.html/*/*.html").read_text()
    return re.sub(r'src="data:[^"]*"', "", html)


def check_attacks(told: dict[str, Any], attacks: list[str], dropped: int = 0) -> None:
    """Every attack on the checkpoint, all but those that compare on its base model; so many prompts may be dropped."""
    below = [name for name in attacks if not ATTACKS[name].compares]
    assert list(told["erasers"]["audited"]["attacks"]) == ["plain", *attacks]
    assert list(told["erasers"]["none"]["attacks"]) == ["plain", *below]
    for one in told["erasers"].values():
        for attack, rate in one["attacks"].items():
            assert rate["n"] + rate["dropped"] == PROMPTS and rate["dropped"] <= dropped, attack
    pairs = {(p["first"], p["second"], p["attack"]) for p in told["paired"]}
    assert pairs == {("none", "audited", attack) for attack in ("plain", *below)}


def test_the_checkpoint_stands_beside_its_base_model(audited, report):
    assert list(audited["erasers"]) == ["none", "audited"]
    check_attacks(audited, SOME)
    assert "merging" not in audited["erasers"]["none"]["attacks"]
    told = audited["audited"]
    assert told["kind"] == "mask" and told["name"] == "mask.safetensors" and told["changed"]["unet"] > 0
    assert audited["erasers"]["audited"]["mask_bytes"] > 0 and audited["neurons"] == []


@pytest.mark.slow
@pytest.mark.parametrize("form", ["mask", "weights"])
def test_without_a_choice_all_attacks_are_run_that_make_sense(exported, audit, form):
    known = list(yaml.safe_load((PROJECT / "conf/base/evaluate/parameters.yml").read_text())["attacks"])
    check_attacks(audit(exported / FORMATS[form]), [name for name in known if form == "mask" or name != "revival"])


def test_the_report_is_about_the_checkpoint(audited, report):
    html = report
    assert "Can mask.safetensors still draw a person?" in html and "What was audited" in html
    assert audited["audited"]["sha256"] in html and "How far an attacker gets" in html
    assert "neurons were not looked at" in html and "kedro run --pipeline=audit" in html
    assert "--params=checkpoint=" in html
    not_tested = html[html.index("What was not tested") : html.index("What this does not show")]
    assert "UnlearnDiffAtk" in not_tested and "textual inversion" in not_tested
    for foreign in ("P-ESD", "X+", "Pruned erasers", "random mask", "One seed and one training", "--params=attack="):
        assert foreign not in html
    assert "was taught to forget" not in html


def test_the_same_judge_again_says_the_same_of_an_audit(audited, report, exported, project, run_job):
    choice = {"audit": {"attacks": SOME}, "checkpoint": str(exported / FORMATS["mask"])}
    run_job(project, pipeline="rejudge_audit", rejudge=JUDGE, **choice)
    table = pd.read_csv(newest(project, "data/08_reporting/emoji64/person/audit/rejudged.csv/*/*.csv"))
    told = {(name, attack): rate for name, e in audited["erasers"].items() for attack, rate in e["attacks"].items()}
    assert list(zip(table["eraser"], table["attack"], strict=True)) == list(told)
    for row in table.itertuples():
        rate = told[row.eraser, row.attack]
        assert (row.n, row.hits, row.dropped, row.failed) == tuple(rate[k] for k in ("n", "hits", "dropped", "failed"))
        assert row.first_hits == row.hits and row.seen == row.first_seen == row.seen_by_both
    assert 0 < table["seen"].sum() < table["images"].sum()
    assert not list(project.glob("data/08_reporting/emoji64/person/rejudged.csv"))  # the job's own is left alone
    with pytest.raises(UserError, match=r"There is no 'person\.audit_base\.tina\.\w+' yet"):
        run_job(project, pipeline="rejudge_audit", rejudge=JUDGE, audit={"attacks": "tina"})


def test_what_is_audited_is_what_was_exported(job, exported, audit, project):
    """The same prompts and seeds: the job's rates come out again, of the erased model and of the base model."""
    told = audit(exported / FORMATS["folder"], audit=LIGHT)
    assert told["audited"]["kind"] == "folder"
    for name, ours in (("none", "none"), ("audited", "conceptprune")):
        assert told["erasers"][name]["attacks"]["plain"] == job["erasers"][ours]["attacks"]["plain"]
        assert told["erasers"][name]["utility"]["retain_far"] == job["erasers"][ours]["utility"]["retain_far"]
    assert told["detector"] == job["detector"] and told["model"] == job["model"]
    made = Eraser.load(newest(project, "data/06_models/emoji64/person/audited/eraser.safetensors/*/*"))
    spec = ModelSpec(**json.loads(newest(project, "data/01_raw/emoji64/person/audit/model.json/*/*").read_text()))
    model = DiffusionModel.load(spec)
    theirs = Eraser.load(newest(project, "data/06_models/emoji64/person/conceptprune/eraser.safetensors/*/*"))
    with model.wearing(theirs):
        expected = {name: value.clone() for name, value in model.weights().items()}
    with model.wearing(made):
        assert all(torch.equal(value, expected[name]) for name, value in model.weights().items())


def test_a_change_that_nobody_meets_has_the_base_models_rates(audit, project, tmp_path):
    """New values for a word that is in no prompt: a copy of the base model, as far as pictures go."""
    spec = ModelSpec(**json.loads(newest(project, "data/01_raw/emoji64/person/model.json/*/*").read_text()))
    table = DiffusionModel.load(spec).weights()["text_encoder.embeddings.token_embedding.weight"].clone()
    table[5] = 0.0  # a single character
    save_file({"text_encoder.embeddings.token_embedding.weight": table}, tmp_path / "copy.safetensors")
    told = audit(tmp_path / "copy.safetensors", audit={"attacks": "seed_search"})
    base, other = told["erasers"]["none"], told["erasers"]["audited"]
    assert base["attacks"] == other["attacks"] and len(base["attacks"]) == 2
    assert all(base["utility"][name] == other["utility"][name] for name in ("retain_near", "retain_far"))
    assert told["audited"]["changed"] == {"text_encoder": 1}


def test_the_jobs_own_results_are_left_alone(job, audited, project):
    """An audit has prompts, pictures and figures of its own, so that export and rejudge still find the job's."""
    for pattern in ("03_primary/emoji64/person/prompts.parquet", "07_model_output/emoji64/person/none/plain/*"):
        versions = {path.name for path in project.glob(f"data/{pattern}/*") if path.is_dir()}
        assert versions == {job["run"]["id"]}
    assert list(project.glob("data/03_primary/emoji64/person/audit/prompts.parquet/*"))


def test_another_base_models_checkpoint_is_refused_before_anything_runs(project, job, run_job, tmp_path):
    save_file({"conv_in.weight": torch.zeros(320, 4, 3, 3)}, tmp_path / "x.safetensors")
    before = sorted(project.glob("data/*/emoji64/person/audit/*/*"))
    with pytest.raises(UserError, match=r"was not made from emoji64: its 'unet\.conv_in\.weight' is of shape 320 x 4"):
        run_job(project, pipeline="audit", checkpoint=str(tmp_path / "x.safetensors"))
    assert sorted(project.glob("data/*/emoji64/person/audit/*/*")) == before


@pytest.mark.parametrize(
    "architecture", [pytest.param(a, marks=[] if a == "flux" else pytest.mark.slow) for a in ARCHITECTURES]
)
def test_an_audit_runs_on_every_architecture(architecture, make_project, run_job, tmp_path):
    """Small random models of the real classes: no rate is read from these."""
    project = make_project()
    folder = make_architecture(architecture, tmp_path / architecture)
    path = project / "conf/local/parameters.yml"
    parameters = yaml.safe_load(path.read_text())
    parameters["model"] = {"path": str(folder), "device": "cpu"}
    if PIXELS[architecture]:
        parameters["model"]["pixels"] = PIXELS[architecture]
    path.write_text(yaml.safe_dump(parameters))
    model = DiffusionModel.load(ModelSpec(name="other", path=str(folder), device="cpu", pixels=PIXELS[architecture]))
    with torch.no_grad():
        for name, parameter in model.weights().items():
            if parameter.ndim == 2 and "embed" not in name:
                parameter.mul_(1.5)
    write_folder(model.pipe, tmp_path / "erased")
    some = ["unlearndiffatk", "merging"]
    run_job(project, pipeline="audit", checkpoint=str(tmp_path / "erased"), audit={"attacks": some})
    told = json.loads(newest(project, "data/08_reporting/emoji64/person/audit/metrics.json/*/*.json").read_text())
    check_attacks(told, some, dropped=1)  # the tiny T5 spells some words in too many pieces
    assert told["audited"]["changed"].keys() == told["audited"]["compared"].keys() - {"vae"}
