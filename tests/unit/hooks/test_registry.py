"""The champion in a real MLflow store: who becomes it, who does not, and how a run is found again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click import ClickException
from click.testing import CliRunner
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from excise import cli
from excise.errors import GateError, UserError
from excise.hooks.finding import find_run
from excise.hooks.mlflow_hook import RUN_ID, URI, MlflowHook
from excise.hooks.registry import MlflowRegistry, NoRegistry, name_of

ASKED = "did not answer as it should"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all, since a new one takes seconds; each test has a concept of its own."""
    return tmp_path_factory.mktemp("project")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (RUN_ID, URI, "EXCISE_MLFLOW", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI")
    for name in (*names, "AIRFLOW_CTX_DAG_ID", "AIRFLOW_CTX_DAG_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


class Job:
    """Runs of one concept, as the MLflow hook and the node ``promote`` make them."""

    def __init__(self, project: Path, concept: str) -> None:
        self.project, self.concept = project, concept
        self.registry, self.name = MlflowRegistry(project), name_of("emoji64", concept)

    def run(self, day: int, passed: bool = True, track: bool = True) -> dict[str, Any]:
        hook, run = MlflowHook(), f"2026-01-{day:02}T00.00.00.000Z"
        hook.after_context_created(SimpleNamespace(project_path=self.project))
        arguments = {"pipeline": Pipeline([]), "catalog": DataCatalog()}
        version = run if track else "2030-01-01T00.00.00.000Z"
        hook.before_pipeline_run(run_params={"run_id": version, "pipeline_names": ["retrain"]}, **arguments)
        try:
            return self.promote(day, passed)
        finally:
            hook.after_pipeline_run()

    def promote(self, day: int, passed: bool = True, eraser: str = "p_ac", hits: int = 1) -> dict[str, Any]:
        gate = {
            "model": "emoji64",
            "concept": self.concept,
            "eraser": eraser,
            "run": f"2026-01-{day:02}T00.00.00.000Z",
            "passed": passed,
            "sentence": "The gate is passed: all 2 checks." if passed else "Plain prompts: 9 of 30.",
            "figures": {"plain": {"hits": hits, "n": 30}},
            "conditions": {},
        }
        return self.registry.record(gate, "hash", lambda path: path.write_bytes(b"eraser of day %d" % day))

    @property
    def champion(self) -> str | None:
        found = self.registry.champion("emoji64", self.concept)
        return found and found["version"]


@pytest.fixture
def job(project: Path, request: pytest.FixtureRequest) -> Job:
    return Job(project, request.node.name.replace("[", "").replace("]", ""))


def test_a_passed_gate_moves_the_alias(job: Job) -> None:
    from mlflow import MlflowClient

    assert job.champion is None
    told = job.run(1)
    assert (told["version"], told["passed"], told["champion"], told["before"]) == ("1", True, True, None)
    assert job.run(2)["before"] == "1" and job.champion == "2"
    client = MlflowClient(f"sqlite:///{job.project / 'mlflow.db'}")
    version = client.get_model_version_by_alias(job.name, "champion")  # as any other program would ask
    assert version.tags["kedro.run_id"] == "2026-01-02T00.00.00.000Z" and version.tags["gate"] == "passed"
    assert version.tags["hits.plain"] == "1 / 30"
    run = client.get_run(version.run_id)
    assert run.data.tags["kedro.run_id"] == version.tags["kedro.run_id"] and run.data.tags["gate"] == "passed"
    file = Path(version.source.removeprefix("file://")) / "eraser.safetensors"
    assert file.read_bytes() == b"eraser of day 2"
    gate = job.registry.champion("emoji64", job.concept)["gate"]
    assert gate["figures"] == {"plain": {"hits": 1, "n": 30}}


def test_a_failed_gate_leaves_it_and_says_why(job: Job) -> None:
    first = job.run(1, passed=False)
    assert job.champion is None and "There is still no champion" in first["sentence"]
    job.run(2)
    told = job.run(3, passed=False)
    assert job.champion == "2" and not told["champion"] and not told["passed"]
    assert "The champion stays version 2" in told["sentence"] and "9 of 30" in told["sentence"]
    refused = job.registry.versions(job.name)[0]
    assert refused.tags["gate"] == "failed" and refused.sentence == "Plain prompts: 9 of 30."


def test_repeating_it_changes_nothing(job: Job) -> None:
    job.run(1)
    told = job.run(2)
    before = job.registry.versions(job.name)
    assert job.promote(2) == told and job.run(2) == told  # the same process, and another run of the same id
    assert job.registry.versions(job.name) == before


def test_the_champions_figures_are_its_own_when_another_eraser_of_its_run_is_judged(job: Job) -> None:
    job.run(1)
    assert job.promote(1, passed=False, eraser="ac", hits=20)["version"] == "2"
    champion = job.registry.champion("emoji64", job.concept)
    assert champion["version"] == "1" and champion["gate"]["eraser"] == "p_ac"
    assert champion["gate"]["figures"] == {"plain": {"hits": 1, "n": 30}}


@pytest.mark.parametrize("eraser", ["p_ac", "ac"])
def test_figures_where_earlier_versions_kept_them_are_read_if_they_are_the_champions(job: Job, eraser: str) -> None:
    from mlflow import MlflowClient

    job.run(1)
    client = MlflowClient(f"sqlite:///{job.project / 'mlflow.db'}")
    run = client.get_run(client.get_model_version_by_alias(job.name, "champion").run_id)
    gate = Path(run.info.artifact_uri.removeprefix("file://")) / job.concept / "gate"
    told = json.loads((gate / "p_ac/gate.json").read_text())
    (gate / "gate.json").write_text(json.dumps(told | {"eraser": eraser}))
    (gate / "p_ac/gate.json").unlink()
    (gate / "p_ac").rmdir()
    found = job.registry.champion("emoji64", job.concept)["gate"]
    assert found == told if eraser == "p_ac" else found is None


def test_the_verdict_of_a_version_may_change_and_a_champion_is_never_taken_down(job: Job) -> None:
    job.run(1)
    assert not job.run(2, passed=False)["champion"]
    assert job.promote(2, passed=True)["champion"] and job.champion == "2"  # judged again, with other thresholds
    told = job.promote(2, passed=False)
    assert job.champion == "2" and told["champion"] and "--rollback" in told["sentence"]
    assert len(job.registry.versions(job.name)) == 2


def test_an_older_run_never_takes_over(job: Job) -> None:
    job.run(5)
    told = job.run(4)
    assert job.champion == "1" and told["passed"] and not told["champion"]
    assert "of a newer run, 2026-01-05" in told["sentence"]


def test_rolling_back_goes_to_the_champion_before_and_stays(job: Job) -> None:
    for day, passed in ((1, True), (2, True), (3, False), (4, True)):
        job.run(day, passed)
    assert job.champion == "4"
    back, now = job.registry.roll_back(job.name)
    assert (back.number, now.number, job.champion) == ("4", "2", "2")  # 3 never was the champion
    assert not job.promote(4)["champion"] and job.champion == "2"  # by being repeated it does not come back
    assert job.run(5)["before"] == "2" and job.champion == "5"
    assert job.registry.roll_back(job.name)[1].number == "2"
    assert job.registry.roll_back(job.name)[1].number == "1"
    with pytest.raises(UserError, match="No earlier champion"):
        job.registry.roll_back(job.name)
    assert job.champion == "1"


def test_there_is_nothing_to_roll_back_without_a_champion(job: Job) -> None:
    with pytest.raises(UserError, match="There is no champion"):
        job.registry.roll_back(job.name)


def test_a_run_that_was_not_tracked_is_registered_with_the_open_one(job: Job) -> None:
    assert job.run(1, track=False)["champion"]
    with pytest.raises(UserError, match="none is open"):
        job.promote(9)


def test_a_store_that_does_not_answer_is_told_before_and_after(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URI, "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for ask in (job.registry.check, lambda: job.promote(1), lambda: job.champion):
        with pytest.raises(UserError, match=ASKED) as told:
            ask()
        assert "\n" not in str(told.value)


def test_without_mlflow_nothing_is_registered_and_that_is_said(job: Job) -> None:
    job.registry = NoRegistry()
    assert job.champion is None
    told = job.promote(1)
    assert not told["champion"] and told["passed"] and "MLflow is switched off" in told["sentence"]
    assert "9 of 30" in job.promote(1, passed=False)["sentence"]


# the command line ---------------------------------------------------------------------------------------------------
def say(project: Path, *arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli.cli, list(arguments), obj=SimpleNamespace(project_path=project))
    assert done.exit_code == code, done.output
    return done.output


def test_champion_tells_the_history_and_rolls_back(job: Job) -> None:
    for day, passed in ((1, True), (2, False), (3, True)):
        job.run(day, passed)
    told = say(job.project, "champion", job.concept)
    assert [line[:5].strip() for line in told.splitlines()[1:] if "gate" in line] == ["*   3", "2", "1"]
    assert "Plain prompts: 9 of 30." in told and "eraser of" not in told
    assert "version 1" in say(job.project, "champion", job.name, "--rollback")
    assert "rolled back" in say(job.project, "champion", job.concept)
    assert "known are excise.emoji64." in say(job.project, "champion", "nobody", code=1)


def test_a_refused_run_has_an_exit_code_of_its_own() -> None:
    codes = []
    for error in (UserError("Mend it."), GateError("The gate is not passed.")):
        with pytest.raises(ClickException) as said, cli.one_sentence():
            raise error
        codes.append(said.value.exit_code)
    assert codes == [1, 3]


def test_asking_makes_no_store(tmp_path: Path) -> None:
    assert "registers the first" in say(tmp_path, "champion", code=1)
    assert "Nothing is known" in say(tmp_path, "find", "x", code=1)
    assert not list(tmp_path.iterdir())


def test_a_store_that_is_away_is_told_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URI, "http://somebody:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for arguments in (["champion"], ["find", "x"]):
        told = say(tmp_path, *arguments, code=1)
        assert "did not answer as it should" in told and len(told.strip().splitlines()) == 1
        assert "secret" not in told


def test_any_id_finds_the_others(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "excise.retrain")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "scheduled__2026-01-07T00:00:00+00:00")
    told = job.run(17)
    monkeypatch.delenv("AIRFLOW_CTX_DAG_ID")
    monkeypatch.delenv("AIRFLOW_CTX_DAG_RUN_ID")
    saved = job.project / "data/08_reporting/emoji64/x/gate.json" / told["run"] / "gate.json"
    saved.parent.mkdir(parents=True)
    saved.write_text(json.dumps({}))
    other = job.project / "data/07_model_output/emoji64/x/none/plain/judgements.parquet" / told["run"]
    other.mkdir(parents=True)
    (other / "judgements.parquet").write_bytes(b"")
    answers = {
        asked: list(find_run(job.project, asked))
        for asked in (told["run"], told["mlflow_run"], "scheduled__2026-01-07T00:00:00+00:00")
    }
    first, *others = answers.values()
    assert others == [first, first]
    text = "\n".join(first)
    assert "DAG excise.retrain, run scheduled__2026-01-07T00:00:00+00:00" in text
    assert "2 results in data" in text and "and 1 more in folders called" in text
    assert str(saved.relative_to(job.project)) in text and told["mlflow_run"] in text
    assert f"{job.name} version 1, gate passed, the champion" in text
    assert text in say(job.project, "find", told["run"])
    for nothing in ("none", "it's", "../x", "%", "*", "2026-*"):
        with pytest.raises(UserError, match="Nothing is known"):
            list(find_run(job.project, nothing))


def test_a_store_of_no_known_kind_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "foo://bar")
    with pytest.raises(UserError, match="foo://bar"):
        list(find_run(tmp_path, "2026-01-01"))


def test_results_are_found_without_mlflow(tmp_path: Path) -> None:
    saved = tmp_path / "data/08_reporting/emoji64/x/gate.json/2026-01-01/gate.json"
    saved.parent.mkdir(parents=True)
    saved.write_text("{}")
    assert any("gate.json" in line for line in find_run(tmp_path, "2026-01-01"))
    assert not (tmp_path / "mlflow.db").exists() and RUN_ID not in os.environ
