"""The causal check on a tiny model: rows, what they were made of, the page, and input that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from excise.errors import UserError
from excise.pipelines.silence_neurons.nodes import collect
from excise.pipelines.silence_neurons.page import silencing_figure, silencing_page
from excise.pipelines.silence_neurons.plan import SilencingOptions, plan_cells
from excise.pipelines.study_pruning.plan import Cell
from tiny import BUDGET

SILENCING: dict[str, Any] = {
    "concepts": ["person"],
    "shares": [0.1, 0.5],
    "draws": 2,
    "timesteps": 2,
    "prompts": BUDGET["prompts"],
    "draw": BUDGET["draw"],
}


def options(**changes) -> SilencingOptions:
    return SilencingOptions.model_validate(SILENCING | changes)


def row(variant: str, draw: int, verdicts: str, kept: str = "hhhhhhhh..") -> dict:
    told = {"concept": "person", "kind": "nsfw", "eraser": "none" if variant == "unpruned" else "held"}
    told |= {"variant": variant, "attack": "plain", "seed": draw, "device": "cpu"}
    told |= {"n": len(verdicts), "hits": verdicts.count("h"), "verdicts": verdicts, "retain_verdicts": kept}
    near, far = kept[:5], kept[5:]
    told |= {"retain_near": near.count("h"), "retain_near_n": 5, "retain_far": far.count("h"), "retain_far_n": 5}
    return told | {"second_n": len(verdicts), "second_hits": verdicts.count("h")}


def test_the_plan_has_the_whole_model_and_as_many_others_for_each_share():
    assert [(c.eraser, c.variant, c.seed) for c in plan_cells(options())] == [
        ("none", "unpruned", 0),
        *[("held", "carriers_0.1", 0), ("held", "others_0.1", 1), ("held", "others_0.1", 2)],
        *[("held", "carriers_0.5", 0), ("held", "others_0.5", 1), ("held", "others_0.5", 2)],
    ]
    assert plan_cells(options(shares=0.5))[1].variant == "carriers_0.5"  # one alone, as on the command line


@pytest.mark.parametrize("shares", [[0.6], [0.0], [0.1, 0.1], []])
def test_shares_leave_as_many_others(shares):
    with pytest.raises(ValidationError, match=r"share|item"):
        options(shares=shares)


def test_the_page_counts_as_by_hand():
    rows = [row("unpruned", 0, "h" * 9 + "."), row("carriers_0.3", 0, "h" + "." * 9, "hhhhhhh...")]
    rows += [row("others_0.3", 1, "h" * 8 + ".."), row("others_0.3", 2, "h" * 6 + "....")]
    page = silencing_page(rows, options(shares=[0.3], draws=2), "tiny", "kedro run")
    assert "| 0 % | none | 9 / 10 | 90 % | 60 to 98 % | 9 / 10 | 5 / 5, 3 / 5 |" in page
    assert "| 30 % | the concept's | 1 / 10 | 10 % |" in page
    assert "| 30 % | others | 8 / 10, 6 / 10 | 70 % |" in page
    # 7 and 5 prompts fall with the concept's neurons alone: 2 / 2^7 and 2 / 2^5; retain: 1 prompt of 10
    assert "| 30 % | +60.0 points (" in page and "| 0.016, 0.062 |" in page and "+10.0 points (" in page
    assert "cells are done" not in page
    assert silencing_figure(rows).size[0] > 300
    part = silencing_page(rows[:3], options(shares=[0.3], draws=2), "tiny", "kedro run")
    assert "**3 of 4 cells are done.**" in part
    failed = [rows[0], row("carriers_0.3", 0, "f" * 10) | {"n": 0}, *rows[2:]]
    assert "| the concept's | 0 / 0 | – | – |" in silencing_page(failed, options(shares=[0.3]), "tiny", "kedro run")


def test_what_there_was_no_time_for_is_missing():
    with pytest.raises(UserError, match=r"silencing\.hours"):
        collect({"0": lambda: {"missing": "x"}}, ["0"])
    assert collect({"0": lambda: {"missing": "x"}, "1": lambda: {"hits": 1}}, ["0", "1"]) == [{"hits": 1}]


@pytest.mark.jobs
def test_it_holds_neurons_and_makes_nothing_twice(make_project, monkeypatch):
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project
    from kedro.runner import SequentialRunner

    from excise.pipelines import selection
    from excise.pipelines.silence_neurons.bench import Bench

    project = make_project()
    (project / "docs").mkdir()
    (project / "docs/neurons.json").write_text("[]")
    place = project / "conf/base/silence_neurons/parameters.yml"
    place.write_text(json.dumps({"silencing": SILENCING}))
    made: list[tuple[Bench, Cell]] = []
    original = Bench.row
    monkeypatch.setattr(Bench, "row", lambda self, cell: made.append((self, cell)) or original(self, cell))

    def run() -> list[dict]:
        bootstrap_project(project)
        try:
            with KedroSession.create(project) as session:
                session.run(pipeline_names=["silence_neurons"], runner=SequentialRunner())
        finally:
            selection.set_selection(None, {})
        return json.loads((project / "docs/neurons.json").read_text())

    rows = run()
    assert [r["variant"] for r in rows] == [c.variant for c in plan_cells(options())]
    assert all(r["n"] == 4 and r["retain_n"] == 4 for r in rows)
    own, other = rows[1], rows[2]
    assert rows[0]["prune_rate"] is None and own["prune_rate"] == pytest.approx(0.1, abs=0.03)
    assert other["prune_rate"] == pytest.approx(own["prune_rate"])
    assert own["provenance"]["eraser"] != other["provenance"]["eraser"] != rows[3]["provenance"]["eraser"]
    assert "code of excise.neurons.holding" in own["made_of"] and "code of excise.erasers" in own["made_of"]
    bench = made[0][0]
    lifted = pd.DataFrame([{"sha256": bench.eraser(cell).header["base"]["sha256"]} for _, cell in made])
    assert lifted["sha256"].nunique() == 1
    assert (project / "docs/neurons.md").exists() and (project / "docs/images/neurons.png").exists()
    made.clear()
    assert run() == rows and not made
    place.write_text(json.dumps({"silencing": SILENCING | {"shares": [0.1]}}))
    assert len(run()) == 4 and not made  # a smaller grid takes its rows over
