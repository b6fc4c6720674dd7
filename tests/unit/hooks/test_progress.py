"""What a run says while it runs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline, node
from kedro_datasets.text import TextDataset

from excise.hooks.progress import ProgressHook, short_path, spell


def test_a_line_a_node_and_where_the_report_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nodes = [node(lambda: "a", None, "a", name="first"), node(lambda a: a, "a", "person.report", name="second")]
    hook, pipeline = ProgressHook(), Pipeline(nodes)
    hook._project = tmp_path
    catalog = DataCatalog({"person.report": TextDataset(filepath=str(tmp_path / "data/report.html"))})
    with caplog.at_level(logging.INFO, "excise"):
        for _ in range(2):  # a second run in the same process counts anew
            hook.before_pipeline_run(pipeline)
            for one in pipeline.nodes:
                hook.before_node_run()
                hook.after_node_run(one)
            hook.after_pipeline_run(pipeline, catalog)
    assert caplog.messages == 2 * ["1 of 2: first", "2 of 2: second", "Done in 0 s.", "Read data/report.html"]


def test_seconds_for_people() -> None:
    assert [spell(s) for s in (0.4, 59.4, 59.6, 125, 3600, 11040)] == [
        *("0 s", "59 s", "1 min 0 s"),
        *("2 min 5 s", "1 h 0 min", "3 h 4 min"),
    ]


def test_paths_are_those_that_one_types() -> None:
    assert short_path(Path("data/a"), Path("/p")) == short_path(Path("/p/data/a"), Path("/p")) == "data/a"
    assert short_path(Path("/q/a"), Path("/p")) == "/q/a"
