"""``kedro run`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

MANY = """
import json, sys, traceback
from pathlib import Path
from click.testing import CliRunner
from kedro.framework.cli.cli import KedroCLI

kedro = KedroCLI(Path.cwd())
answers = {}
for name, arguments in json.load(sys.stdin).items():
    result = CliRunner().invoke(kedro, arguments)
    answers[name] = {
        "code": result.exit_code,
        "lines": result.stderr.strip().splitlines(),
        "error": repr(result.exception),
        "metrics": sorted(map(str, Path("data").glob("*/metrics.json/*/*.json"))),
    }
print(json.dumps(answers))
"""
NSFW = ["run", "--pipelines=erase_nsfw"]
CASES = {
    "concept": [*NSFW, "--params=concept=persn"],
    "concept_of_a_stage": ["run", "--pipelines=stage", "--params=concept=7"],
    "kind": [*NSFW, "--params=concept=fluent"],
    "pipeline": ["run", "--pipelines=erase_nswf"],
    "environment": [*NSFW, "--env=sd41"],
    "list": [*NSFW, "--params=erase.strengths=[1,2]"],
    "params": [*NSFW, "--params=erase"],
    "too_much": [*NSFW, "--params=erase.strength=3"],
    "no_number": [*NSFW, "--params=erase.strength=lots"],
    "choice": [*NSFW, "--params=erase.what=nothing"],
    "extra": [*NSFW, "--params=erase.strenght=1"],
    "model": [*NSFW, "--params=model.path=nowhere"],
    "refuse": [*NSFW, "--params=erase.what=refuse"],
    "nothing_ran": ["registry", "list"],
    "other": [*NSFW, "--params=concept=robot"],
    "style": ["run", "--pipelines=erase_style"],
    "defect": [*NSFW, "--params=erase.what=break"],
}


@pytest.fixture(scope="module")
def answers(python) -> dict[str, Any]:
    """All of the cases, one after the other in one process."""
    done = python("-c", MANY, stdin=json.dumps(CASES))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("case", "parts"),
    {
        "concept": ["no concept 'persn'", "did you mean 'person'?"],
        "concept_of_a_stage": ["no concept '7'", "known are fluent, person, robot."],
        "kind": ["'fluent' is of kind style", "--pipelines=erase_style"],
        "pipeline": ["no pipeline 'erase_nswf'", "did you mean 'erase_nsfw'?"],
        "environment": ["no environment 'sd41'", "did you mean 'sd14'?"],
        "list": ["must contain a key and a value"],
        "params": ["`erase` must contain a key and a value"],
        "too_much": ["'erase.strength' cannot be 3", "less than or equal to 2."],
        "no_number": ["'erase.strength' cannot be 'lots'", "it must be a number."],
        "choice": ["'erase.what' cannot be 'nothing'", "'work'"],
        "extra": ["'erase.strenght' does not exist"],
        "model": ["'nowhere'", "Download it from its makers."],
        "refuse": ["Set erase.what to work."],
    }.items(),
)
def test_bad_input_gets_one_sentence(answers: dict[str, Any], case: str, parts: list[str]) -> None:
    answer = answers[case]
    assert answer["code"] == 1
    assert len(answer["lines"]) == 1 and answer["lines"][0].startswith("Error: ")
    assert all(part in answer["lines"][0] for part in parts), answer["lines"]


def test_bad_input_runs_nothing(answers: dict[str, Any]) -> None:
    assert answers["nothing_ran"]["metrics"] == []


def test_the_concept_follows_the_parameter_and_the_kind(answers: dict[str, Any]) -> None:
    def concepts(case: str) -> list[str]:
        return [Path(file).parts[1] for file in answers[case]["metrics"]]

    assert concepts("other") == ["robot"]
    assert concepts("style") == ["fluent", "robot"]  # the default again, though the same process chose another before


def test_a_defect_keeps_its_traceback(answers: dict[str, Any]) -> None:
    assert "RuntimeError('a defect')" in answers["defect"]["error"]


def test_readme_command_runs_and_says_no_warning(project: Path, python) -> None:
    done = python("-W", "default", "-m", "kedro", "run", "--pipeline=erase_nsfw", "--params=erase.strength=2")
    assert done.returncode == 0, done.stderr
    assert "Please use '--pipelines'" not in done.stdout + done.stderr
    [file] = project.glob("data/person/metrics.json/*/metrics.json")
    assert json.loads(file.read_text()) == {"strength": 2.0, "concepts": ["fluent", "person", "robot"]}
    assert (project / "data" / "cache" / "seen").exists()
    assert "telemetry" not in (project / "pyproject.toml").read_text()


def test_what_another_environment_does_not_read_is_named(project: Path, python) -> None:
    mine = project / "conf" / "local" / "retrain" / "parameters.yml"
    mine.parent.mkdir()
    mine.write_text("gate: {attack_upper: 0.05}\n")
    try:
        command = ("-m", "kedro", "run", "--pipeline=erase_nsfw", "--params=erase.strength=3")  # refused: nothing runs
        told, unasked = (python(*command, *more).stderr for more in (["--env=sd14"], []))
    finally:
        mine.unlink()
        mine.parent.rmdir()
    assert "Not read with --env=sd14: conf/local/retrain/parameters.yml." in told and "into conf/sd14" in told
    assert "Not read" not in unasked
    assert "Not read" not in python(*command, "--env=sd14").stderr  # an empty folder says nothing


def test_sentence_is_the_last_line_and_debug_shows_the_traceback(project: Path, python) -> None:
    bad = ["-m", "excise", "--pipelines=erase_nsfw", "--params=erase.what=refuse"]
    plain, debug = python(*bad), python(*bad, EXCISE_DEBUG="1")
    assert plain.returncode == debug.returncode == 1
    assert plain.stderr.splitlines()[-1] == "Error: Set erase.what to work."
    assert "Traceback" not in plain.stderr and "Traceback" in debug.stderr


def test_interrupted_run_is_killed_in_mlflow(project: Path, python) -> None:
    bad = "--params=erase.what=interrupt"
    done = python("-m", "kedro", "run", "--pipelines=erase_nsfw", bad, EXCISE_MLFLOW="on")
    assert done.returncode == 1
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    [run] = client.search_runs([client.get_experiment_by_name("excise").experiment_id])
    assert run.info.status == "KILLED"
    assert run.data.params["erase.what"] == "interrupt" and run.data.params["erase.strength"] == "1.0"
