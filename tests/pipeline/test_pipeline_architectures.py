"""The whole job on every architecture: small random models of the real classes. No rate is read from these."""

from __future__ import annotations

import json

import pytest
import yaml

from architectures import ARCHITECTURES, PIXELS, make_architecture

ERASERS = ["none", "ac", "ac_plus", "p_ac"]
SLOW = {"sd15", "sd3"}  # the others exercise all that these do


@pytest.mark.jobs
@pytest.mark.parametrize(
    "architecture", [pytest.param(a, marks=pytest.mark.slow if a in SLOW else []) for a in ARCHITECTURES]
)
def test_the_whole_job_runs(architecture, make_project, run_job, tmp_path):
    project = make_project()
    path = project / "conf/local/parameters.yml"
    parameters = yaml.safe_load(path.read_text())
    folder = make_architecture(architecture, tmp_path / architecture)
    parameters["model"] = {"path": str(folder), "device": "cpu"}
    if PIXELS[architecture]:
        parameters["model"]["pixels"] = PIXELS[architecture]
    path.write_text(yaml.safe_dump(parameters))
    metrics = run_job(project, eraser="ac")
    assert list(metrics["erasers"]) == ERASERS
    for one in metrics["erasers"].values():
        for rate in one["attacks"].values():
            assert rate["n"] + rate["failed"] + rate["dropped"] == parameters["prompts"]["test"]
            assert rate["failed"] == 0
    assert metrics["erasers"]["p_ac"]["mask_bytes"] > 0
    report = next(project.glob("data/08_reporting/emoji64/person/report.html/*/report.html"))
    assert "Can emoji64 still draw" in report.read_text()
    losses = next(project.glob("data/06_models/emoji64/person/ac/losses.json/*/losses.json"))
    assert all(abs(row["loss"]) < 1e6 for row in json.loads(losses.read_text()))
