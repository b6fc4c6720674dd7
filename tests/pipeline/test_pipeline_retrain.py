"""The whole job with its gate on a tiny model, and the champion in a real store."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from excise.erasers import Eraser
from excise.errors import GateError, UserError
from excise.gate.options import best_upper
from excise.hooks.finding import find_run
from excise.hooks.given_id import under_given_id
from excise.hooks.registry import MlflowRegistry
from tiny import BUDGET

pytestmark = pytest.mark.jobs

NAME = "excise.emoji64.person"
# nothing is asked of an untrained model but that its figures are there
OPEN = dict.fromkeys(("attack_upper", "plain_upper", "any_upper", "near_loss_upper", "far_loss_upper"), 1.0)
OPEN |= {"base_lower": 0.0, "least_prompts": 1, "least_retain": 1, "compare": False}


@pytest.fixture(scope="module")
def project(make_project) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXCISE_MLFLOW", "on")
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "AIRFLOW_CTX_DAG_ID"):
            patch.delenv(name, raising=False)
        patch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "manual__1")
        yield make_project()


@pytest.fixture(scope="module")
def passed(project: Path, run_job, told: list[str]) -> dict[str, Any]:
    return run_job(project, "retrain", gate=OPEN)


@pytest.fixture(scope="module")
def told() -> Iterator[list[str]]:
    """What the project's loggers say."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("excise")
    before, logger.level = logger.level, logging.INFO
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)
    logger.level = before


def saved(project: Path, name: str, run: str | None = None) -> Any:
    folder = project / f"data/08_reporting/emoji64/person/{name}"
    text = (max(folder.iterdir()) if run is None else folder / run).joinpath(name).read_text()
    return json.loads(text) if name.endswith("json") else text


def test_thresholds_that_cannot_be_met_are_refused_before_anything_runs(project: Path, run_job) -> None:
    with pytest.raises(UserError, match=r"gate\.plain_upper is 0\.2, and even no hit in 4 test prompts"):
        run_job(project, "retrain")
    with pytest.raises(UserError, match=r"No 'random' is made of the eraser 'esd': set export\.variant"):
        run_job(project, "retrain", gate=OPEN, export={"variant": "random"})
    assert not (project / "data").exists()


def test_a_passed_gate_makes_the_eraser_of_the_run_the_champion(project: Path, passed: dict[str, Any]) -> None:
    run = passed["run"]["id"]
    gate, promotion = saved(project, "gate.json", run), saved(project, "promotion.json", run)
    assert gate["passed"] and gate["eraser"] == "p_esd" and saved(project, "champion.json", run) == {}
    told = passed["erasers"]["p_esd"]["attacks"]["unlearndiffatk"]
    assert gate["figures"]["unlearndiffatk"] == {"hits": told["hits"], "n": told["n"]}
    assert "The gate is passed" in saved(project, "gate.md", run)
    assert (promotion["version"], promotion["champion"], promotion["run"]) == ("1", True, run)
    [version] = MlflowRegistry(project).versions(NAME)
    assert version.champion and version.run == run
    shipped = Eraser.load(Path(version.source.removeprefix("file://")) / "eraser.safetensors")
    assert shipped.header["run_id"] == run and shipped.sha256 == version.tags["eraser.sha256"]
    lines = "\n".join(find_run(project, "manual__1"))
    assert run in lines and version.mlflow_run in lines and "gate.json" in lines and "the champion" in lines


def test_a_run_says_what_the_gate_decided_and_where_to_read_it(passed: dict[str, Any], told: list[str]) -> None:
    run, said = passed["run"]["id"], "\n".join(told)
    assert "Gate passed for p_esd" in said and f"Champion: version 1 of {NAME} (p_esd, run {run})" in said
    for page in ("report.html", "gate.md"):
        assert f"Read data/08_reporting/emoji64/person/{page}/{run}/{page}" in said


def test_a_task_that_is_tried_again_is_the_same_run(
    project: Path, passed: dict[str, Any], run_job, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = passed["run"]["id"]
    before = saved(project, "promotion.json", run)
    monkeypatch.setenv("EXCISE_RUN_ID", run)
    with under_given_id():
        run_job(project, "retrain", ["person.promote"], gate=OPEN)
    assert saved(project, "promotion.json") == before and len(MlflowRegistry(project).versions(NAME)) == 1
    monkeypatch.setenv("EXCISE_RUN_ID", "2026-01-01T00.00.00.000Z")
    with under_given_id(), pytest.raises(UserError, match=rf"newest '\S+' is of the run {run}, later than 2026-01-01"):
        run_job(project, "retrain", ["person.promote"], gate=OPEN)


def test_a_failed_gate_saves_everything_keeps_the_champion_and_ends_in_an_error(
    project: Path, passed: dict[str, Any], run_job
) -> None:
    high = passed["erasers"]["p_esd"]["attacks"]["plain"]["high"]
    threshold = (high + best_upper(BUDGET["prompts"]["test"])) / 2
    assert threshold < high  # or the tiny model drew nothing and this test says nothing
    with pytest.raises(GateError, match="does not become it, since the gate is not passed: Plain prompts"):
        run_job(project, "retrain", gate=OPEN | {"plain_upper": threshold, "compare": True})
    promotion = saved(project, "promotion.json")
    assert promotion["run"] > passed["run"]["id"] and promotion["version"] == "2" and not promotion["champion"]
    assert [c["name"] for c in saved(project, "gate.json")["checks"] if not c["passed"]] == ["plain prompts"]
    assert (project / f"data/08_reporting/emoji64/person/report.html/{promotion['run']}").exists()
    versions = MlflowRegistry(project).versions(NAME)
    assert [(v.number, v.champion, v.tags["gate"]) for v in versions] == [("2", False, "failed"), ("1", True, "passed")]
    from mlflow import MlflowClient

    run = MlflowClient(f"sqlite:///{project / 'mlflow.db'}").get_run(promotion["mlflow_run"])
    assert run.info.status == "FINISHED" and run.data.tags["gate"] == "failed"  # the work was done


def test_the_same_figures_are_not_worse_than_the_champions(project: Path, passed: dict[str, Any]) -> None:
    """Of the run before, which drew the same again."""
    gate = saved(project, "gate.json")
    beside = [c for c in gate["checks"] if c["name"].endswith("beside the champion")]
    assert len(beside) == 4 and all(c["measured"] == 0 and c["passed"] for c in beside) and not gate["notes"]
    assert gate["champion"] == {"version": "1", "run": passed["run"]["id"]}
    assert saved(project, "promotion.json")["before"] == "1"
