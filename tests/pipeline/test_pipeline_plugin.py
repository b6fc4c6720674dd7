"""The example package: installed as any other, found by its entry point, and at work in the whole job."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml

pytestmark = pytest.mark.jobs

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "examples/plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """What an installer leaves: the package, and beside it the description with its entry points."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(PLUGIN / "excise_example", folder / "excise_example")
    described = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    info = folder / "excise_example-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {described['name']}\nVersion: 0.1\n")
    points = described["entry-points"]["excise.plugins"]
    lines = ["[excise.plugins]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def kedro(project: Path, installed: Path, *parts: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(installed), str(ROOT / "src")])
    env = os.environ | {"PYTHONPATH": path, "EXCISE_MLFLOW": "off"}
    return subprocess.run(
        [sys.executable, "-m", "kedro", *parts], cwd=project, env=env, capture_output=True, text=True, timeout=600
    )


def test_a_package_from_outside_erases_attacks_and_judges(make_project, installed):
    project = make_project()
    shutil.copytree(PLUGIN / "conf/concepts", project / "conf/local/concepts")
    shutil.copy(PLUGIN / "conf/parameters_boat.yml", project / "conf/base/parameters_boat.yml")
    choice = "concept=boat,eraser=projection,attack=repetition"
    done = kedro(project, installed, "run", "--pipeline=erase_object", f"--params={choice}")
    assert done.returncode == 0, done.stderr[-2000:]
    [metrics] = project.glob("data/08_reporting/emoji64/boat/metrics.json/*/metrics.json")
    told = json.loads(metrics.read_text())
    assert list(told["erasers"]) == ["none", "projection", "projection_plus", "p_projection"]
    [table] = project.glob("data/07_model_output/emoji64/boat/projection/repetition/adversarial.parquet/*/*.parquet")
    rows = pd.read_parquet(table)
    assert set(rows["threat_model"]) == {"black-box text"} and rows["images"].between(0, 3).all()
    again = kedro(project, installed, "run", "--pipeline=rejudge", f"--params={choice}")
    assert again.returncode == 0, again.stderr[-2000:]
    [rejudged] = project.glob("data/08_reporting/emoji64/boat/rejudged.csv/*/rejudged.csv")
    assert "brightness" in next(project.glob("data/08_reporting/emoji64/boat/second_opinion.txt/*/*")).read_text()
    assert len(pd.read_csv(rejudged)) == 8


def test_its_commands_make_prompts_with_the_projects_own_numbers(tmp_path, installed):
    shutil.copytree(ROOT / "conf", tmp_path / "conf", ignore=shutil.ignore_patterns("local"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(PLUGIN, tmp_path / "examples/plugin")
    (tmp_path / "src").mkdir()
    told = (ROOT / "examples/README.md").read_text().split("```bash\n")[1].split("```")[0]
    install, *copies, run = told.strip().splitlines()
    assert install == "pip install ./examples/plugin"  # stood in for by the folder that it would leave
    for line in copies:
        subprocess.run(line, shell=True, check=True, cwd=tmp_path)
    # all checks are made before the first step, which is the only one here
    done = kedro(tmp_path, installed, *shlex.split(run)[1:], "--to-nodes=boat.make_prompts")
    assert done.returncode == 0, done.stderr[-2000:]
    [table] = tmp_path.glob("data/03_primary/emoji64/boat/prompts.parquet/*/prompts.parquet")
    asked = yaml.safe_load((ROOT / "conf/base/prepare/parameters.yml").read_text())["prompts"]
    sets = pd.read_parquet(table).groupby(["set", "split"]).size()
    assert {split: sets["target", split] for split in ("fit", "tune", "test")} == {
        split: asked[split] for split in ("fit", "tune", "test")
    }


def test_without_the_package_its_names_are_unknown(make_project, tmp_path):
    project = make_project()
    done = kedro(project, tmp_path, "run", "--pipeline=erase_object", "--params=eraser=projection")
    assert done.returncode != 0 and "There is no eraser 'projection'" in done.stderr + done.stdout


def test_a_plugin_that_cannot_be_imported_is_named_and_the_rest_works(make_project, installed, tmp_path):
    broken = tmp_path / "broken-0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 0\n")
    (broken / "entry_points.txt").write_text("[excise.plugins]\nbroken = no_such_package_anywhere\n")
    done = kedro(make_project(), tmp_path, "registry", "list")
    assert done.returncode == 0 and "erase_nsfw" in done.stdout
    assert "The plugin 'broken'" in done.stderr + done.stdout
