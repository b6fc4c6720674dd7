"""The project as it is, in a folder of its own, with the tiny model and tiny budgets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiny import BUDGET, JUDGE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Callable[[], Path]:
    def make() -> Path:
        folder = tmp_path_factory.mktemp("project")
        shutil.copytree(ROOT / "conf", folder / "conf")
        shutil.copy(ROOT / "pyproject.toml", folder)
        (folder / "src").mkdir()
        model = {"path": str(tiny_folder), "device": "cpu"}
        (folder / "conf/local/parameters.yml").write_text(yaml.safe_dump({**BUDGET, "model": model}))
        concept = folder / "conf/base/concepts/person.yml"
        described = yaml.safe_load(concept.read_text())
        described["person"] |= {"judge": JUDGE, "second_judge": JUDGE | {"threshold": 0.99}}
        concept.write_text(yaml.safe_dump(described))
        return folder

    return make


@pytest.fixture(scope="session")
def run_job() -> Iterator[Callable[..., dict[str, Any]]]:
    """Run the whole job, or a part of it, in a project; returns the job's ``metrics.json`` if there is one."""
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project
    from kedro.runner import SequentialRunner

    from excise.pipelines import selection

    def run(project: Path, pipeline: str = "erase_nsfw", nodes: Sequence[str] = (), **params: Any) -> dict[str, Any]:
        bootstrap_project(project)
        try:
            with KedroSession.create(project, runtime_params=params) as session:
                session.run(pipeline_names=[pipeline], node_names=nodes or None, runner=SequentialRunner())
        finally:
            selection.set_selection(None, {})  # what was chosen for this run is not for the tests after it
        found = sorted(project.glob("data/08_reporting/emoji64/person/metrics.json/*/metrics.json"))
        return json.loads(found[-1].read_text()) if found else {}

    yield run
    selection.set_selection(None, {})
    bootstrap_project(ROOT)
