"""A job that is killed at any write, or finds the disk full, and is run again gives what an uninterrupted one gives."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiny import BUDGET

pytestmark = pytest.mark.jobs

PROGRAM = Path(__file__).with_name("interrupting.py")
SMALL = {
    "prompts": {"fit": 2, "tune": 1, "test": 2, "retain_fit": 2, "retain_test": 2},
    "draw": {"steps": 2, "per_prompt": 1, "batch": 4},
    "attacks": {"unlearndiffatk": {"steps": 2, "batch": 2}},
}
STAGES = [  # where something is written, in the order of the job
    *(
        "01_raw",
        "prompts.parquet",
        "cache/trajectories-",
        "trajectories.json",
        "cache/eraser-",
        "esd/eraser.safetensors",
    ),
    *("cache/attack-", "fit/adversarial.parquet", "activations.safetensors", "sensitivity.parquet", "mask_scores"),
    *("cache/mask-", "p_esd/mask.safetensors", "cache/plus-", "cache/images-", "manifest.parquet"),
    *("cache/judgements-", "judgements.parquet", "neurons.parquet", "metrics.json", "runs/", "summarise_run.json"),
]
PAGES = ["contact_sheet.png", "reactivation.png", "report.html"]
MODES = ["before", "after", "full"]
FULL = "The disk is full: make room"


def interrupt(project: Path, cases: list[dict[str, Any]], **asked: Any) -> dict[str, Any]:
    told = json.dumps({"project": str(project), "cases": cases, "wanted": ["person.metrics"], **asked})
    quiet = {"EXCISE_MLFLOW": "off", "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(PROGRAM)],
        input=told,
        capture_output=True,
        text=True,
        env={**os.environ, **quiet},
        cwd=project.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def small(make_project, **more: Any) -> Path:
    project = make_project()
    file = project / "conf/local/parameters.yml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **SMALL, **more}))
    return project


def check(told: dict[str, Any]) -> None:
    """Every case ended as it should, and its second run says what the uninterrupted one says."""
    expected = {k: told["reference"][k] for k in ("metrics", "erasers")}
    assert len(expected["erasers"]) == 4 and len(set(expected["erasers"].values())) == 4
    for case in told["cases"]:
        about = {k: v for k, v in case.items() if k != "result"}
        if case["mode"] in ("before", "after"):
            assert case["ends"][0]["signal"] == signal.SIGKILL, about
        elif case["mode"] == "full":
            assert case["ends"][0]["code"] == 1 and case["ends"][0]["sentence"].startswith(FULL), about
            assert not case["drafts"], about  # a full disk is not kept full by halves
        elif case["mode"] == "two":
            assert all(end["code"] == end["signal"] == 0 for end in case["ends"]), about
        if "again" in case:
            assert case["again"]["code"] == case["again"]["signal"] == 0, about
        assert {k: case["result"][k] for k in expected} == expected, about


def test_an_interrupted_job_goes_on_and_says_the_same(make_project):
    at = random.Random()  # another place each time: whatever it is, the result has to be the same
    told = interrupt(
        small(make_project), [{"mode": at.choice(["before", "after", "full"]), "place": at.choice(STAGES)}]
    )
    check(told)
    # every file got there whole: by being moved there
    allowed = re.compile(r"\.lock$|/cost/")
    assert {f for f in told["there"] if not allowed.search(f)} <= set(told["written"])


@pytest.mark.slow
def test_two_jobs_at_once_are_both_right(make_project):
    check(interrupt(small(make_project), [{"mode": "two"}] * 3))


@pytest.mark.slow
def test_wherever_a_job_is_interrupted_it_goes_on(make_project):
    """Every stage, with trainings that keep their state every 50 steps; in another way at each, each time."""
    steps = {"erasers": {"esd": BUDGET["erasers"]["esd"] | {"steps": 120}}, "prune": BUDGET["prune"] | {"steps": 120}}
    settings = [("excise.training", "LoopOptions.checkpoint_seconds", 0.0)]
    turn = random.randrange(3)
    cases = [{"mode": MODES[(turn + n) % 3], "place": place} for n, place in enumerate([*STAGES, *PAGES])]
    cases += [{"mode": mode, "place": "cache/mask-", "more": 1} for mode in MODES]
    cases += [{"mode": "before", "place": "p_esd/eraser", "id": "2026-01-31T09.30.00.000Z"}]
    pages = [f"person.{page.partition('.')[0]}" for page in PAGES]
    told = interrupt(small(make_project, **steps), cases, settings=settings, wanted=pages)
    check(told)
    assert sum("cache/mask-" in place for place in told["written"]) > 2  # or nothing was interrupted within a training
    assert told["cases"][-1]["result"]["run"] == "2026-01-31T09.30.00.000Z"


@pytest.mark.slow
def test_damaged_work_in_progress_is_made_anew(make_project):
    told = interrupt(small(make_project), [{"mode": "damaged"}])
    cut = told["cases"][0]["cut"]
    assert {Path(f).suffix for f in cut} == {".safetensors", ".json", ".png", ".parquet"} and len(cut) >= 7
    check(told)
