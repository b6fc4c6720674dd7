"""The record of a run in MLflow, in a real store."""

from __future__ import annotations

import json
import logging
import os
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline, node
from kedro.runner import ParallelRunner, SequentialRunner
from pydantic import BaseModel

from excise.hooks.mlflow_hook import RUN_ID, URI, MlflowHook, leaves

pytestmark = [  # the tests write a later version on purpose, and name datasets without a namespace
    pytest.mark.filterwarnings("ignore:Save version"),
    pytest.mark.filterwarnings("ignore:One or more dataset names"),
]


class Attack(BaseModel):
    steps: int = 50
    words: list[str] = ["a", "b"]


def work(attack: Attack) -> tuple[dict, list[dict], str]:
    metrics = {"rate": 0.25, "n": 4, "list": [{"low": 0.1}], "name": "x", "flag": True, "none": None}
    return metrics, [{"step": s, "loss": 1 / (1 + s), "note": "x"} for s in (0, 10)], "<p>report</p>"


def fail(attack: Attack) -> None:
    raise RuntimeError("a defect")


OUTPUTS = {"metrics": ("json.JSONDataset", "metrics"), "loss": ("json.JSONDataset", "curve")}
OUTPUTS |= {"report": ("text.TextDataset", ["artifact"])}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One project folder for all, since a new store takes seconds."""
    return tmp_path_factory.mktemp("project")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (RUN_ID, URI, "EXCISE_MLFLOW", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


class Project:
    """A hook, a catalog and a run, as Kedro's session puts them together."""

    def __init__(self, store: Path, data: Path, version: str = "2026-01-01T00.00.00.000Z") -> None:
        config = {
            f"person.{name}": {
                "type": kind,
                "filepath": str(data / name),
                "versioned": True,
                "metadata": {"mlflow": track},
            }
            for name, (kind, track) in OUTPUTS.items()
        }
        self.catalog = DataCatalog.from_config(config, save_version=version)
        self.catalog["params:attack"] = Attack()
        self.catalog["params:attack.steps"] = 50
        self.catalog["params:draw"] = {"guidance": 4.5, "sizes": [1, 2]}
        self.hook = MlflowHook()
        self.manager = _create_hook_manager()
        self.manager.register(self.hook)
        self.version = version
        self.hook.after_context_created(SimpleNamespace(project_path=store))

    def run(self, pipeline: Pipeline, runner: Any = None) -> None:
        params = {"run_id": self.version, "env": "sd14", "pipeline_names": ["erase_nsfw"]}
        arguments = {"run_params": params, "pipeline": pipeline, "catalog": self.catalog}
        self.manager.hook.before_pipeline_run(**arguments)
        try:
            (runner or SequentialRunner()).run(pipeline, self.catalog, self.manager, run_id=self.version)
        except Exception as error:
            self.manager.hook.on_pipeline_error(error=error, **arguments)
            raise
        self.manager.hook.after_pipeline_run(run_result={}, **arguments)


def _pipeline(*extra: Any) -> Pipeline:
    outputs = ["person.metrics", "person.loss", "person.report"]
    draw = node(lambda steps, draw: "drawn", ["params:attack.steps", "params:draw"], "drawn", name="draw")
    return Pipeline([node(work, "params:attack", outputs, name="work"), draw, *extra])


def _runs(store: Path) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("excise")
    return client.search_runs([experiment.experiment_id], order_by=["start_time DESC"]) if experiment else []


def test_a_run_is_recorded(store: Path, tmp_path: Path) -> None:
    (tmp_path / "report" / "2099-01-01T00.00.00.000Z").mkdir(parents=True)  # a later version that is not this run's
    (tmp_path / "report" / "2099-01-01T00.00.00.000Z" / "report").write_text("later")
    Project(store, tmp_path).run(_pipeline())
    run = _runs(store)[0]
    assert (run.info.status, run.info.run_name) == ("FINISHED", "erase_nsfw")
    assert run.data.params == {
        "attack.steps": "50",
        "attack.words": '["a", "b"]',
        "draw.guidance": "4.5",
        "draw.sizes": "[1, 2]",
    }
    assert {k: v for k, v in run.data.tags.items() if not k.startswith(("mlflow", "excise"))} == {
        "kedro.run_id": "2026-01-01T00.00.00.000Z",
        "kedro.env": "sd14",
        "pipeline": "erase_nsfw",
    }
    assert run.data.metrics == {
        "person.metrics.rate": 0.25,
        "person.metrics.n": 4.0,
        "person.metrics.list.0.low": 0.1,
        "person.loss.loss": pytest.approx(1 / 11),
    }
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    assert artifacts.is_relative_to(store / "mlartifacts")
    assert (artifacts / "person" / "report" / "report").read_text() == "<p>report</p>"
    assert RUN_ID not in os.environ and URI not in os.environ


def test_a_curve_keeps_its_steps(store: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    Project(store, tmp_path).run(_pipeline())
    history = MlflowClient(f"sqlite:///{store / 'mlflow.db'}").get_metric_history(
        _runs(store)[0].info.run_id, "person.loss.loss"
    )
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (10, pytest.approx(1 / 11))]


def test_a_failed_run_keeps_what_was_finished(store: Path, tmp_path: Path) -> None:
    broken = node(lambda drawn, attack: fail(attack), ["drawn", "params:attack"], "never", name="zz_fail")
    with pytest.raises(RuntimeError, match="a defect"):
        Project(store, tmp_path).run(_pipeline(broken))
    assert _runs(store)[0].info.status == "FAILED"
    assert RUN_ID not in os.environ


def test_an_interrupted_run_is_killed_by_the_next_one(store: Path, tmp_path: Path) -> None:
    project = Project(store, tmp_path)
    arguments = {"run_params": {"run_id": "a"}, "pipeline": _pipeline(), "catalog": project.catalog}
    project.manager.hook.before_pipeline_run(**arguments)
    interrupted = os.environ[RUN_ID]
    project.run(_pipeline())
    states = {run.info.run_id: run.info.status for run in _runs(store)}
    assert states.pop(interrupted) == "KILLED" and "RUNNING" not in states.values()


@pytest.mark.jobs
@pytest.mark.parametrize(("ends", "status"), [(True, "KILLED"), (False, "RUNNING")])
def test_what_a_killed_process_left_is_closed_by_the_next_run(tmp_path: Path, ends: bool, status: str) -> None:
    spawn = get_context("spawn")
    begun, may_end = spawn.Event(), spawn.Event()
    other = spawn.Process(target=_begins_and_dies, args=(tmp_path, begun, may_end))
    other.start()
    try:
        assert begun.wait(120)
        if ends:
            may_end.set()
            other.join(60)
        Project(tmp_path, tmp_path).run(_pipeline())
        assert [run.info.status for run in _runs(tmp_path)] == ["FINISHED", status]
    finally:
        may_end.set()
        other.join(60)


def _begins_and_dies(folder: Path, begun: Any, may_end: Any) -> None:
    project = Project(folder, folder / "killed")
    arguments = {"run_params": {"run_id": "a"}, "pipeline": _pipeline(), "catalog": project.catalog}
    project.manager.hook.before_pipeline_run(**arguments)
    begun.set()
    may_end.wait(120)
    os._exit(9)  # as after SIGKILL: nothing is closed


def test_a_given_run_is_joined(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Project(store, tmp_path / "1").run(_pipeline())
    before = len(_runs(store))
    run_id = _runs(store)[0].info.run_id
    monkeypatch.setenv(RUN_ID, run_id)
    Project(store, tmp_path / "2").run(_pipeline())
    assert len(_runs(store)) == before and os.environ[RUN_ID] == run_id


def test_child_processes_join_the_run(store: Path, tmp_path: Path) -> None:
    from kedro.framework.project import configure_project
    from kedro.io import SharedMemoryDataCatalog

    configure_project("excise")  # a child takes its hooks from the project's settings
    project = Project(store, tmp_path)
    catalog = SharedMemoryDataCatalog.from_config(
        {"metrics": {"type": "json.JSONDataset", "filepath": str(tmp_path / "m"), "metadata": {"mlflow": "metrics"}}}
    )
    catalog["params:attack"] = Attack()
    project.catalog = catalog
    before = len(_runs(store))
    project.run(Pipeline([node(in_child, "params:attack", "metrics", name="child")]), ParallelRunner(max_workers=1))
    assert len(_runs(store)) == before + 1
    pid = _runs(store)[0].data.metrics["metrics.pid"]
    assert pid != os.getpid() and json.loads((tmp_path / "m").read_text()) == {"pid": pid}


def in_child(attack: Attack) -> dict[str, int]:
    return {"pid": os.getpid()}


@pytest.mark.jobs
def test_two_first_runs_that_start_at_once_are_both_recorded(tmp_path: Path) -> None:
    spawn = get_context("spawn")
    gate = spawn.Barrier(2)
    twins = [spawn.Process(target=_first_run, args=(tmp_path, name, gate)) for name in ("a", "b")]
    for twin in twins:
        twin.start()
    for twin in twins:
        twin.join(120)
    assert [twin.exitcode for twin in twins] == [0, 0]
    assert [run.info.status for run in _runs(tmp_path)] == ["FINISHED", "FINISHED"]


def _first_run(folder: Path, name: str, gate: Any) -> None:
    import mlflow  # noqa: F401  the seconds that it takes would hold the two apart

    for given in (RUN_ID, URI):
        os.environ.pop(given, None)
    gate.wait(60)
    Project(folder, folder / name).run(_pipeline())


def test_a_store_that_is_away_costs_one_warning_and_no_results(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away = "http://somebody:secret@127.0.0.1:9"
    monkeypatch.setenv(URI, away)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with caplog.at_level(logging.WARNING, "excise"):
        Project(store, tmp_path).run(_pipeline())
    assert [r.message[:11] for r in caplog.records if r.name.startswith("excise")] == ["MLflow miss"]
    assert not any("secret" in record.getMessage() for record in caplog.records if record.name.startswith("excise"))
    assert len(list(tmp_path.rglob("*Z/*"))) == 3
    assert os.environ[URI] == away and RUN_ID not in os.environ


def test_it_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXCISE_MLFLOW", "off")
    untracked = Pipeline([node(lambda attack: attack.steps, "params:attack", "n", name="n")])
    Project(tmp_path / "store", tmp_path / "data").run(untracked)
    assert not (tmp_path / "store").exists()


def test_leaves_go_into_lists_only_when_asked() -> None:
    value = {"a": {"b": [1, {"c": 2}]}, "d": Attack()}
    assert dict(leaves(value, "x")) == {
        "x.a.b.0": 1,
        "x.a.b.1.c": 2,
        "x.d.steps": 50,
        "x.d.words.0": "a",
        "x.d.words.1": "b",
    }
    assert dict(leaves(value, lists=False))["a.b"] == [1, {"c": 2}]
