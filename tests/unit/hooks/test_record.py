"""Where records say that a file lies."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from excise.hooks.record import RecordHook


def test_a_file_is_called_by_its_place_in_the_project_wherever_its_bytes_are(tmp_path: Path) -> None:
    project, disk = tmp_path / "project", tmp_path / "disk"
    (disk / "02_intermediate").mkdir(parents=True)
    project.mkdir()
    (project / "data").symlink_to(disk)
    file = project / "data/02_intermediate/table.csv"
    file.write_text("a\n1\n")
    hook = RecordHook()
    hook.after_context_created(
        SimpleNamespace(project_path=project, config_loader={"globals": {}, "parameters": {}}, env=None)
    )
    assert hook._file(file).file == "data/02_intermediate/table.csv"
