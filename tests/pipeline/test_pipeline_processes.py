"""Processes that accelerate starts share out a node's work, and leave what one process would have made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from excise.errors import UserError
from excise.processes import count_processes, own_shard

ROOT = Path(__file__).parents[2]
NODES = ["person.find_concept", "person.identify_model", "person.make_prompts", "person.none.no_eraser"]
NODES += ["person.none.plain.draw_plain"]


def kedro(project: Path, *more: str) -> str:
    command = [sys.executable, "-m", "kedro", "run", "--pipelines=erase_nsfw", "--nodes=" + ",".join(NODES)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "EXCISE_MLFLOW": "off", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *more], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_two_processes_draw_what_one_draws(make_project):
    one, two = make_project(), make_project()
    kedro(one, "--params=draw.batch=4")
    said = kedro(two, "--params=draw.batch=4,processes=2")
    assert said.count("Completed node: person.none.plain.draw_plain") == 3  # two that shared it out, one that saved it
    found = [next(p.glob("data/07_model_output/**/manifest.parquet/*/manifest.parquet")) for p in (one, two)]
    pd.testing.assert_frame_equal(*(pd.read_parquet(path).drop(columns="folder", errors="ignore") for path in found))
    # the children saved no version of their own
    assert len({p.name for p in two.glob("data/0*/**/*Z") if p.is_dir()}) == 1


@pytest.mark.parametrize("asked", [0, -1, 1.5, True, "two", None])
def test_what_is_no_number_of_processes_is_refused(asked):
    with pytest.raises(UserError, match="give a number from 1, or auto"):
        count_processes(asked)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert count_processes("auto") == count_processes(2) == 2
    with pytest.raises(UserError, match="there are 2 GPUs: set it to auto"):
        count_processes(3)


def test_a_rank_is_asked_only_of_what_accelerate_started(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(UserError, match="accelerate has not started this"):
        own_shard()
