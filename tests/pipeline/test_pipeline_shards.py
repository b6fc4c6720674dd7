"""A run that is cut into shards and tasks is the run that one process makes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.runner import SequentialRunner

from excise.errors import UserError
from excise.hooks.given_id import under_given_id
from excise.pipelines import selection
from excise.pipelines.names import SHARDED

pytestmark = pytest.mark.jobs

ID = "2026-01-31T09.30.00.000Z"
CUTS = 2
X = "person.conceptprune"
CUT = {f"{X}.fit.attack_eraser", "person.none.plain.draw_plain", "person.none.plain.judge_concept"}
# batches of few, so that there is something to share out
PARAMS: dict[str, Any] = {"draw": {"batch": 4}, "attacks": {"unlearndiffatk": {"batch": 1}}, "eraser": "conceptprune"}


@pytest.fixture
def run_task(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable]:
    """Run some nodes as a task of the run ``ID``."""
    monkeypatch.setenv("EXCISE_RUN_ID", ID)

    def run(project: Path, nodes: list[str], pipeline: str = "erase_nsfw", **params: Any) -> None:
        bootstrap_project(project)
        own = PARAMS if pipeline == "erase_nsfw" else {}
        with under_given_id(), KedroSession.create(project, runtime_params=own | params) as session:
            session.run(pipeline_names=[pipeline], node_names=nodes, runner=SequentialRunner())

    yield run
    selection.set_selection(None, {})


def _nodes(project: Path) -> list:
    from kedro.framework.project import pipelines

    bootstrap_project(project)
    with KedroSession.create(project, runtime_params=PARAMS) as session:
        session.load_context()  # which chooses the eraser, before the pipeline is built
        return pipelines["erase_nsfw"].nodes


def _work(project: Path) -> dict[str, int]:
    """What lies in the cache, and when it was made."""
    return {
        str(p.relative_to(project)): p.stat().st_mtime_ns for p in project.glob("data/cache/**/*.p*") if p.is_file()
    }


def test_shards_and_then_the_whole_give_what_one_process_gives(make_project, run_job, run_task, monkeypatch):
    monkeypatch.setenv("EXCISE_MLFLOW", "off")
    apart, together = make_project(), make_project()
    waiting: list[str] = []
    for node in _nodes(apart):
        if node.name not in CUT:
            waiting.append(node.name)
            continue
        assert node.tags & set(SHARDED.values())
        if waiting:
            run_task(apart, waiting)
        for number in reversed(range(1, CUTS + 1)):  # in whatever order
            run_task(apart, [node.name], shard=f"{number}/{CUTS}")
        saved = list(apart.glob(f"data/0*/**/{ID}"))
        before = _work(apart)
        run_task(apart, [node.name])
        assert _work(apart) == before  # the whole found all of it done
        assert len(list(apart.glob(f"data/0*/**/{ID}"))) > len(saved)
        waiting = []
    run_task(apart, waiting)
    monkeypatch.delenv("EXCISE_RUN_ID")
    one = run_job(together, **PARAMS)
    many = json.loads(next(apart.glob(f"data/08_reporting/emoji64/person/metrics.json/{ID}/metrics.json")).read_text())
    assert many["run"]["id"] == ID
    cost = many["cost"]
    assert {*cost} == {*one["cost"]} and all(stage["seconds"] > 0 for stage in cost.values())
    for found in (one, many):
        del found["cost"], found["run"]
    assert one == many
    versions = {p.name for p in apart.glob("data/0*/**/*Z") if p.is_dir()}
    assert versions == {ID}
    for table in ("adversarial", "judgements", "retain_judgements", "manifest", "typed_judgements", "typed_manifest"):
        for path in apart.glob(f"data/07_model_output/**/{table}.parquet/{ID}/*.parquet"):
            (same,) = together.glob(f"{path.parents[1].relative_to(apart)}/*/*.parquet")
            drop = ["folder"] if table.endswith("manifest") else []
            pd.testing.assert_frame_equal(
                *(pd.read_parquet(p).drop(columns=drop, errors="ignore") for p in (path, same)), check_exact=True
            )


def test_what_cannot_be_cut_is_refused(make_project, run_task, monkeypatch):
    monkeypatch.setenv("EXCISE_MLFLOW", "off")
    project = make_project()
    for nodes, shard, sentence in (
        (["person.find_concept"], "1/2", "which cannot be cut"),
        (["person.none.plain.draw_plain", "person.none.plain.judge_concept"], "1/2", "only a part of"),
        (["person.none.plain.draw_plain"], "3/2", "cannot be '3/2'"),
        (["person.none.plain.draw_plain"], "all", "cannot be 'all'"),
    ):
        with pytest.raises(UserError, match=sentence):
            run_task(project, nodes, shard=shard)


def test_a_task_that_is_tried_again_writes_anew(make_project, run_task, monkeypatch):
    monkeypatch.setenv("EXCISE_MLFLOW", "off")
    project = make_project()
    for _ in range(2):
        run_task(project, ["person.find_concept", "person.identify_model"])
    (saved,) = project.glob("data/01_raw/emoji64/person/concept.json/*/concept.json")
    assert saved.parent.name == ID


@pytest.mark.parametrize("given", ["scheduled__2026-01-31", "2026-99-99T99.99.99.999Z", "2026-01-31T09.30.00Z", ""])
def test_an_id_that_would_not_sort_is_refused(monkeypatch, given):
    monkeypatch.setenv("EXCISE_RUN_ID", given)
    with pytest.raises(UserError, match="EXCISE_RUN_ID cannot be"), under_given_id():
        pass


def test_tasks_side_by_side_join_one_tracked_run(make_project, run_task, monkeypatch):
    from mlflow import MlflowClient

    project = make_project()
    monkeypatch.setenv("EXCISE_MLFLOW", "on")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "excise.erase_nsfw")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "manual__1")
    run_task(project, ["person.find_concept"])
    run_task(project, ["person.identify_model"])
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert run.data.tags["kedro.run_id"] == ID and run.data.tags["airflow.dag_run_id"] == "manual__1"
    assert run.info.status == "RUNNING"  # the report is still to come


@pytest.mark.parametrize("last", ["person.identify_model", "person.make_prompts"])
def test_a_tracked_run_is_finished_by_whichever_of_its_tasks_ends_last(make_project, run_task, monkeypatch, last):
    from mlflow import MlflowClient

    def status() -> str:
        client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
        (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
        return run.info.status

    project = make_project()
    monkeypatch.setenv("EXCISE_MLFLOW", "on")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    ends = ["person.identify_model", "person.make_prompts"]  # no other task waits for either
    for node in ("person.find_concept", *sorted(ends, key=last.__eq__)):
        run_task(project, [node], pipeline="prepare")
        assert status() == ("FINISHED" if node == last else "RUNNING")
    run_task(project, ["person.find_concept"], pipeline="prepare")  # cleared by hand: the rest is still done
    assert status() == "FINISHED"
