"""The pipelines as kedro-viz shows them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest
from PIL import Image


@pytest.mark.slow
def test_the_built_site_shows_the_contact_sheet(project: Path, python) -> None:
    for command in (
        ["run", "--pipelines=erase_nsfw"],
        ["viz", "build", "--include-hooks", "--include-previews"],
    ):
        done = python("-m", "kedro", *command)
        assert done.returncode == 0, done.stderr
    api = project / "build" / "api"
    names = {node["id"]: node["name"] for node in json.loads((api / "main").read_text())["nodes"]}
    assert {"person.metrics", "person.sheet", "concepts", "cache"} <= set(names.values())
    [sheet] = [key for key, name in names.items() if name == "person.sheet"]
    shown = json.loads((api / "nodes" / sheet).read_text())
    assert shown["preview_type"] == "ImagePreview"
    assert Image.open(io.BytesIO(base64.b64decode(shown["preview"]))).getpixel((0, 0)) == (0, 128, 128)
