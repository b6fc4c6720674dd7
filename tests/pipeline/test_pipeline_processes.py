"""Processes side by side share out a node's work, and leave what one process would have made."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from excise.errors import UserError
from excise.images import DrawOptions, draw_images
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.processes import count_processes, own_shard
from tiny import BUDGET

pytestmark = pytest.mark.jobs

ROOT = Path(__file__).parents[2]
NODES = ["person.find_concept", "person.identify_model", "person.make_prompts", "person.none.no_eraser"]
NODES += ["person.none.plain.draw_plain"]


def test_two_processes_draw_what_one_draws(make_project):
    project = make_project()
    (project / "conf").rename(project / "elsewhere")  # which the children have to be told
    (project / "conf/base").mkdir(parents=True)
    shutil.copy(project / "elsewhere/logging.yml", project / "conf")
    command = [sys.executable, "-m", "kedro", "run", "--pipelines=erase_nsfw", "--nodes=" + ",".join(NODES)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "EXCISE_MLFLOW": "off", "OMP_NUM_THREADS": "1"}
    command.append("--conf-source=elsewhere")
    command.append("--params=draw.batch=4,processes=2")
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert (
        len(re.findall(r"\d of \d: person.none.plain.draw_plain", said)) == 3
    )  # two that shared it out, one that saved it
    # the children saved no version of their own
    assert len({p.name for p in project.glob("data/0*/**/*Z") if p.is_dir()}) == 1
    (drawn,) = project.glob("data/07_model_output/**/manifest.parquet/*/manifest.parquet")
    shared = pd.read_parquet(drawn)
    prompts = pd.read_parquet(next(project.glob("data/03_primary/**/prompts.parquet/*/prompts.parquet")))
    (saved,) = project.glob("data/01_raw/emoji64/person/model.json/*/model.json")
    model = DiffusionModel.load(ModelSpec(**json.loads(saved.read_text())))
    options = DrawOptions(**yaml.safe_load((project / "elsewhere/base/evaluate/parameters.yml").read_text())["draw"])
    options = options.model_copy(update=BUDGET["draw"] | {"batch": 4})
    rows = prompts[prompts["split"] == "test"].set_index("prompt_id").loc[shared["prompt_id"].unique()].reset_index()
    (project / "alone").mkdir()
    alone = draw_images(model, rows, options, project / "alone", "test")
    assert shared["sha256"].tolist() == alone.manifest["sha256"].tolist()


@pytest.mark.parametrize("asked", [0, -1, 1.5, True, "two", None])
def test_what_is_no_number_of_processes_is_refused(asked):
    with pytest.raises(UserError, match="give a number from 1, or auto"):
        count_processes(asked)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert count_processes("auto") == count_processes(2) == 2
    with pytest.raises(UserError, match="there are 2 GPUs: set it to auto"):
        count_processes(3)


def test_a_rank_is_asked_only_of_several_processes(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(UserError, match="nothing has started several"):
        own_shard()
