"""The notebook does the whole job on the model that ships."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_quickstart_runs_from_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("conf/base", "notebooks"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for file in ("pyproject.toml", "conf/logging.yml"):
        shutil.copy(ROOT / file, tmp_path / file)
    for folder in ("conf/local", "src"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))

    notebook = nbformat.read(tmp_path / "notebooks/quickstart.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "notebooks are kept without outputs"
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path / "notebooks")}}).execute()

    [metrics] = tmp_path.glob("data/08_reporting/emoji64/person/metrics.json/*/metrics.json")
    told = json.loads(metrics.read_text())
    assert told["budget"] == "notebook"
    assert list(told["erasers"]) == ["none", "ac", "ac_plus", "p_ac"]
    pictures = [_pictures(cell) for cell in notebook.cells]
    sheet, base, erased, lifted = (shown for shown in pictures if shown)
    assert sheet and base != erased and base == lifted


def _pictures(cell: nbformat.NotebookNode) -> list[str]:
    return [out.data["image/png"] for out in cell.get("outputs", []) if "image/png" in out.get("data", {})]
