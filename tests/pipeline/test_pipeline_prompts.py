"""A concept that takes its test prompts from a set, in the project."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.runner import SequentialRunner

from excise.errors import UserError
from excise.pipelines import selection
from excise.pipelines.erase.nodes import asked_of, guidance_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def prepared(make_project):
    """Run the stage that makes prompts, for the concept ``person`` with further keys."""

    def run(rows: str | None = None, **keys) -> tuple[Path, dict, pd.DataFrame]:
        project = make_project()
        path = project / "conf/base/concepts/person.yml"
        described = yaml.safe_load(path.read_text())
        described["person"] |= keys
        path.write_text(yaml.safe_dump(described))
        if rows is not None:
            (project / "rows.csv").write_text(rows)
        bootstrap_project(project)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(project)
                with KedroSession.create(project) as session:
                    session.run(pipeline_names=["prepare"], runner=SequentialRunner())
        finally:
            selection.set_selection(None, {})
            bootstrap_project(ROOT)
        folder = project / "data/03_primary/emoji64/person"
        counts = json.loads(max(folder.glob("prompt_counts.json/*/prompt_counts.json")).read_text())
        return project, counts, pd.read_parquet(max(folder.glob("prompts.parquet/*/prompts.parquet")))

    return run


def test_a_set_serves_the_test_split_and_is_accounted_for(prepared):
    things = ["at sea", "in a garden", "on a hill", "by a mill", "at noon", "in spring", "with a hat", "with a b0y"]
    rows = "case_number,prompt,evaluation_seed,evaluation_guidance\n"
    rows += "".join(f"{i},an old man {thing},{500 + i},3.5\n" for i, thing in enumerate(things))
    source = {"set": "unlearndiffatk", "file": "rows.csv", "splits": ["test"]}
    project, counts, table = prepared(rows, prompts_from=source)
    [told] = counts["sets"]
    assert counts["minors"] == told["minors"] == 1 and told["read"] == 8 and told["used"] == {"test": 4}
    assert told["sha256"] == hashlib.sha256((project / "rows.csv").read_bytes()).hexdigest()
    test = table[(table["split"] == "test") & (table["set"] == "target")]
    assert test["prompt"].str.startswith("an old man ").all() and test["guidance"].eq(3.5).all()
    assert test["seed"].between(500, 507).all() and not table["prompt"].str.contains("b0y").any()
    twins = table[(table["split"] == "test") & (table["set"] == "neutral")]
    assert twins["prompt"].str.startswith("a cactus ").all() and len(twins) == 4
    assert table[(table["split"] == "fit") & (table["set"] == "target")]["guidance"].isna().all()


def test_what_attacks_imitate_is_drawn_at_a_prompts_own_guidance() -> None:
    rows = pd.DataFrame({"set": "target", "split": "test", "prompt": ["a", "b"], "seed": [1, 2]})
    assert guidance_of(rows, 3.0) == guidance_of(rows.assign(guidance=float("nan")), 3.0) == 3.0
    own = rows.assign(guidance=[7.5, float("nan")])
    assert guidance_of(own, 3.0) == [7.5, 3.0]
    assert asked_of(rows) == asked_of(rows.assign(guidance=float("nan"))) != asked_of(own)
    assert asked_of(own) != asked_of(own.assign(guidance=[5.0, float("nan")]))


def test_a_set_that_is_not_there_stops_the_run_before_it_starts(prepared):
    with pytest.raises(UserError, match=r"download prompts/NAME\.csv"):
        prepared(prompts_from={"set": "unlearndiffatk"})
