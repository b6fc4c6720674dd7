"""The DAGs, run by Airflow itself on the model that ships; `make test-airflow` makes its environment and runs this."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.airflow
ROOT = Path(__file__).parents[2]
AIRFLOW = Path(os.environ.get("EXCISE_AIRFLOW", ROOT / ".venv-airflow")).resolve() / "bin"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in a folder of its own, with its DAGs written."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "conf", folder / "conf")
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "src").mkdir()
    (folder / "src/excise").symlink_to(ROOT / "src/excise")
    kedro(folder, "dags", "--env=smoke")
    return folder


def kedro(project: Path, *words: str) -> str:
    # as many threads as Airflow's tasks have: the last bits depend on them
    environment = os.environ | {"EXCISE_MLFLOW": "on", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(
        [sys.executable, "-m", "kedro", *words], cwd=project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def airflow(project: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    own = {
        "AIRFLOW_HOME": str(project / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(project / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "EXCISE_MLFLOW": "on",
        "OMP_NUM_THREADS": "1",
    }
    outer = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "MLFLOW_TRACKING_URI")}
    done = subprocess.run([AIRFLOW / "airflow", *words], cwd=project, env=outer | own, capture_output=True, text=True)
    assert done.returncode == 0 or not check, done.stdout[-6000:] + done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def database(project: Path) -> None:
    airflow(project, "db", "migrate")


def test_every_pipeline_is_a_dag_of_its_own_that_airflow_can_read(project, database):
    airflow(project, "dags", "reserialize")
    assert table(airflow(project, "dags", "list-import-errors", "-o", "json").stdout) == []
    dags = table(airflow(project, "dags", "list", "-o", "json").stdout)
    packages = {p.parent.name for p in (ROOT / "src/excise/pipelines").glob("*/__init__.py")}
    assert sorted(dag["dag_id"] for dag in dags) == sorted(f"excise.{name}" for name in packages)


def test_a_dag_run_is_one_run_and_gives_what_one_process_gives(project, database):
    said = airflow(project, "dags", "test", "excise.retrain").stdout
    (run_id,) = set(re.findall(r"EXCISE_RUN_ID=(\S+)", said))
    versions = {p.name for p in project.glob("data/0*/**/*Z") if p.is_dir()}
    assert versions == {run_id}
    found = metrics(project, run_id)
    kedro(project, "run", "--pipeline=retrain", "--env=smoke")
    other = max(p.parent.name for p in project.glob("data/08_reporting/**/metrics.json/*/metrics.json"))
    assert other != run_id
    assert found == metrics(project, other)
    for path in project.glob(f"data/07_model_output/**/{run_id}/*judgements.parquet"):
        one = path.parents[1] / other / path.name
        pd.testing.assert_frame_equal(pd.read_parquet(path), pd.read_parquet(one), check_exact=True)
    # shards were tasks of their own
    tasks = tasks_of(project / "dags/excise_retrain.py")
    sharded = Counter(task["id"].split(".")[-1] for task in tasks if task["shards"] == 2)
    assert sharded == {  # of the base model and of the eraser; the fit prompts' attack is the eraser's alone
        "attack_eraser": 1,
        "draw_plain": 2,
        "judge_retain": 2,
        "judge_concept": 4,
        "attack_test_prompts": 2,
        "draw_attacked": 2,
        "draw_typed": 2,
        "judge_typed": 2,
    }
    shards = sharded.total()
    assert said.count("--params=shard=1/2") == said.count("--params=shard=2/2") == shards


def test_one_id_finds_the_rest(project):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    (run,) = [run for run in runs if "airflow.dag_id" in run.data.tags]  # one for all of its tasks
    assert run.info.status == "FINISHED" and run.data.tags["airflow.dag_id"] == "excise.retrain"
    for known in (run.info.run_id, run.data.tags["kedro.run_id"], run.data.tags["airflow.dag_run_id"]):
        said = kedro(project, "find", known)
        assert run.info.run_id in said and run.data.tags["kedro.run_id"] in said
        assert run.data.tags["airflow.dag_run_id"] in said
    assert "*" in kedro(project, "champion")


def test_what_a_person_has_to_mend_is_not_tried_again(project, database):
    path = project / "conf/smoke/parameters.yml"
    kept = path.read_text()
    path.write_text(kept.replace("steps: 4", "steps: none"))
    try:
        failed = airflow(project, "dags", "test", "excise.prepare", check=False)  # before anything is spent
    finally:
        path.write_text(kept)
    said = failed.stdout + failed.stderr
    assert "AirflowFailException" in said and "attacks.unlearndiffatk.steps" in said


def table(said: str) -> list[dict]:
    """What Airflow prints as JSON, below its warnings."""
    return json.loads([line for line in said.splitlines() if line.startswith(("[{", "[]"))][-1])


def metrics(project: Path, run_id: str) -> dict:
    (path,) = project.glob(f"data/08_reporting/**/metrics.json/{run_id}/metrics.json")
    return {k: v for k, v in json.loads(path.read_text()).items() if k not in ("cost", "run")}


def tasks_of(path: Path) -> list[dict]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "TASKS":
            return ast.literal_eval(node.value)
    raise AssertionError("no TASKS")
