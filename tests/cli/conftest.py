"""A small Kedro project around the real settings, hooks and command: the plumbing, without models."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUMBING = ["*.py", "models/__init__.py", "models/spec.py", "models/hub.py", "models/memory.py"]
PLUMBING += [f"{room}/*.py" for room in ("concepts", "datasets", "hooks", "pipelines", "provenance")]

PIPELINE = """
from typing import Literal

from kedro.pipeline import Pipeline, node
from pydantic import BaseModel, Field

from excise.errors import UserError
from excise.models.spec import ModelSpec
from excise.pipelines.selection import selected_concept


class Erase(BaseModel):
    model_config = dict(extra="forbid")
    strength: float = Field(1.0, ge=0, le=2)
    what: Literal["work", "refuse", "break", "interrupt"] = "work"


def erase(options: Erase, model: ModelSpec, concepts: dict, cache) -> dict:
    if options.what == "refuse":
        raise UserError("Set erase.what to work.")
    if options.what == "break":
        raise RuntimeError("a defect")
    if options.what == "interrupt":
        raise KeyboardInterrupt  # a signal would be lost where the tests themselves run in the background
    (cache.root / "seen").parent.mkdir(parents=True, exist_ok=True)
    (cache.root / "seen").write_text("seen")
    return {"strength": options.strength, "concepts": sorted(concepts)}


def draw():
    from PIL import Image

    return Image.new("RGB", (8, 8), "teal")


def create_pipeline(**kwargs) -> Pipeline:
    name = selected_concept("KIND")
    inputs = ["params:erase", "params:model", "concepts", "cache"]
    sheet = node(draw, None, f"{name}.sheet", name=f"{name}.draw")
    return Pipeline([node(erase, inputs, f"{name}.metrics", name=f"{name}.erase"), sheet])
"""

CONCEPT = """
{name}:
  kind: {kind}
  erase: the thing
  target: {{fit: [a], tune: [b], test: [c]}}
  anchor: ""
  templates: ["{{concept}}"]
  retain_near: {{church: [church]}}
  retain_far: {{tree: [tree]}}
  judge: {{name: any, labels: [thing], threshold: 0.5}}
  retain_judge: {{name: any, threshold: 0.5}}
"""


def make_project(folder: Path) -> Path:
    """Write the project into an empty folder."""
    source = folder / "src" / "excise"
    for path in (path for pattern in PLUMBING for path in (ROOT / "src" / "excise").glob(pattern)):
        copy = source / path.relative_to(ROOT / "src" / "excise")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    for pipeline, kind in {"erase_nsfw": "nsfw", "erase_style": "style", "stage": "nsfw"}.items():
        pipeline = source / "pipelines" / pipeline
        pipeline.mkdir()
        (pipeline / "__init__.py").write_text(PIPELINE.replace("KIND", kind))
    conf = folder / "conf"
    shutil.copytree(ROOT / "conf" / "local", conf / "local")
    for name in ("base/concepts", "sd14"):
        (conf / name).mkdir(parents=True)
    for name in ("logging.yml", "base/globals.yml"):
        shutil.copy(ROOT / "conf" / name, conf / name)
    for name, kind in {"person": "nsfw", "robot": "nsfw", "fluent": "style"}.items():
        (conf / "base" / "concepts" / f"{name}.yml").write_text(CONCEPT.format(name=name, kind=kind))
    (folder / "model").mkdir()
    (folder / "model" / "model_index.json").write_text("{}")
    (conf / "base" / "parameters.yml").write_text(
        "erase: {strength: 1.0, what: work}\nmodel: {name: small, path: model, help: Download it from its makers.}\n"
    )
    (conf / "base" / "catalog.yml").write_text(
        '"{concept}.metrics": {type: json.JSONDataset, filepath: "data/{concept}/metrics.json", versioned: true,\n'
        "  metadata: {mlflow: [metrics, artifact]}}\n"
        '"{concept}.sheet": {type: excise.datasets.PngDataset, filepath: "data/{concept}/sheet.png", versioned: true}\n'
    )
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project; a module's tests share it."""
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def python(project: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python …`` in the project, in a process of its own; keywords are environment variables."""

    def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "ignore", *arguments],
            input=stdin,
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(project / "src"), "EXCISE_MLFLOW": "off", **environment},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run
