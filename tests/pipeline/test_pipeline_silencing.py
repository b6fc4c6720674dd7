"""The causal check on a tiny model: rows, what they were made of, the page, and input that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from excise.errors import UserError
from excise.neurons import find_units
from excise.neurons.activations import moments_of
from excise.neurons.holding import carriers, held
from excise.pipelines.erase import nodes as erase
from excise.pipelines.silence_neurons.nodes import collect
from excise.pipelines.silence_neurons.page import silencing_figure, silencing_page
from excise.pipelines.silence_neurons.plan import SilencingOptions, other_concept, plan_cells
from excise.pipelines.study_pruning.committed import rows_by_cell, tell_left_out
from excise.pipelines.study_pruning.plan import Cell
from excise.whole import refuse_damaged
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
        *[("held", "carriers_0.1", 0), ("held", "others_0.1", 1), ("held", "others_0.1", 2), ("held", "loud_0.1", 0)],
        *[("held", "carriers_0.5", 0), ("held", "others_0.5", 1), ("held", "others_0.5", 2), ("held", "loud_0.5", 0)],
    ]
    assert len(plan_cells(options(harder=False))) == 7
    crossed = [c for c in plan_cells(options(concepts=["person", "church"], shares=0.1)) if other_concept(c.variant)]
    assert [(c.concept, c.variant) for c in crossed] == [("person", "of-church_0.1"), ("church", "of-person_0.1")]
    assert plan_cells(options(shares=0.5))[1].variant == "carriers_0.5"  # one alone, as on the command line


@pytest.mark.parametrize("shares", [[0.6], [0.0], [0.1, 0.1], [0.1, 0.10000001], []])
def test_shares_leave_as_many_others(shares):
    with pytest.raises(ValidationError, match=r"share|item"):
        options(shares=shares)


def test_no_concept_is_named_twice():
    with pytest.raises(ValidationError, match="a concept is named twice"):
        options(concepts=["person", "person"])


def test_the_page_counts_as_by_hand():
    rows = [row("unpruned", 0, "h" * 9 + "."), row("carriers_0.3", 0, "h" + "." * 9, "hhhhhhh...")]
    rows += [row("others_0.3", 1, "h" * 8 + ".."), row("others_0.3", 2, "h" * 6 + "....")]
    page = silencing_page(rows, options(shares=[0.3], draws=2, harder=False), "tiny", "kedro run")
    assert "| 0 % | none | – | 9 / 10 | 90 % | 60 to 98 % | 9 / 10 | 5 / 5, 3 / 5 |" in page
    assert "| 30 % | the concept's | – | 1 / 10 | 10 % |" in page
    assert "| 30 % | others, at random | – | 8 / 10, 6 / 10 | 70 % |" in page
    # 7 and 5 prompts fall with the concept's neurons alone: 2 / 2^7 and 2 / 2^5; retain: 1 prompt of 10
    assert "| 30 % | others, at random | +60.0 points (" in page and "| 0.016, 0.062 |" in page
    assert "+10.0 points (" in page and "| 1.000, 1.000 |" in page
    # the draw that shows least decides
    assert "(Holm, for the 1 comparisons of the table): at no share. They are not shown to lose more" in page
    assert "than random others do: 30 %." in page
    alike = silencing_page(
        [*rows[:3], rows[3] | {"verdicts": "h" * 8 + ".."}], options(shares=[0.3], draws=2), "t", "c"
    )
    assert "| 0.016, 0.016 |" in alike and "of the table): 30 %. They are" in alike
    assert "cells are done" not in page
    loud = {"shared": 0, "neurons": 12}
    hard = [*rows, row("loud_0.3", 0, "hh" + "." * 8) | loud, row("of-church_0.3", 0, "h" * 10) | loud | {"shared": 5}]
    page = silencing_page(hard, options(shares=[0.3], draws=2), "tiny", "kedro run")
    assert "| 30 % | the loudest others | 0 of 12 | 2 / 10 |" in page
    assert "| 30 % | those of church | 5 of 12 | 10 / 10 |" in page and "| 30 % | those of church | +90.0" in page
    assert "of the table): at no share." in page  # the loudest others take it away, too
    assert silencing_figure(hard).size == silencing_figure(rows).size
    assert silencing_figure(rows).size[0] > 300
    part = silencing_page(rows[:3], options(shares=[0.3], draws=2), "tiny", "kedro run")
    assert "**3 of 5 cells are done.**" in part
    old = silencing_page([*rows[:3], rows[3] | {"stale": True, "hits": 0}], options(shares=[0.3], draws=2), "tiny", "c")
    assert "**3 of 5 cells are done.**" in old and "1 rows of an earlier version" in old and "0 / 10, " not in old
    failed = [rows[0], row("carriers_0.3", 0, "f" * 10) | {"n": 0}, *rows[2:]]
    assert "| the concept's | – | 0 / 0 | – | – |" in silencing_page(failed, options(shares=[0.3]), "tiny", "kedro run")


def test_what_there_was_no_time_for_is_missing():
    with pytest.raises(UserError, match=r"silencing\.hours"):
        collect({"0": lambda: {"missing": "x"}}, ["0"])
    assert collect({"0": lambda: {"missing": "x"}, "1": lambda: {"hits": 1}}, ["0", "1"]) == [{"hits": 1}]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows[0].update(hits=77),
        lambda rows: rows[0].pop("fingerprint"),
        lambda rows: rows[0].pop("verdicts"),
        lambda rows: rows[0].update(retain_verdicts=None, attack=None, hits=None),
        lambda rows: rows.append([1, 2]),
        lambda rows: rows.append(None),
    ],
)
def test_committed_rows_that_are_wrong_are_refused(spoil):
    rows = [row("unpruned", 0, "hh..") | {"fingerprint": "x", "retain_n": 10, "failed": 0, "dropped": 0}]
    assert list(rows_by_cell(rows, "rows")) == [Cell("person", "none", "unpruned", "plain", 0)]
    spoil(rows)
    with pytest.raises(UserError, match=r"^rows.*version control") as told:
        rows_by_cell(rows, "rows")
    assert str(told.value).count("version control") == 1


def test_rows_that_are_not_written_again_are_told(caplog):
    cells = [Cell("person", "none", "unpruned", "plain", seed) for seed in (0, 1, 2)]
    with caplog.at_level("WARNING"):
        tell_left_out(cells[:2], cells)
        assert not caplog.records
        tell_left_out(cells, cells[:1])
    assert "2 committed rows are of no cell" in caplog.text


def test_damaged_rows_are_taken_from_version_control_and_no_folder_is_deleted(tmp_path):
    path = tmp_path / "neurons.json"
    path.write_text("[{")
    with pytest.raises(UserError, match="take it from version control again"):
        refuse_damaged(path, "silencing.committed")
    with pytest.raises(UserError, match="delete its folder"):
        refuse_damaged(path, "person.metrics")


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
    cells = plan_cells(options())
    assert [r["variant"] for r in rows] == [c.variant for c in cells]
    assert all(r["n"] == 4 and r["retain_n"] == 4 for r in rows)
    own, other, loud, half = rows[1], rows[2], rows[4], rows[5]
    assert rows[0]["prune_rate"] is None and own["prune_rate"] == pytest.approx(0.1, abs=0.03)
    assert half["variant"] == "carriers_0.5" and half["prune_rate"] == pytest.approx(0.5, abs=0.03)
    assert other["prune_rate"] == pytest.approx(own["prune_rate"]) == loud["prune_rate"]
    assert loud["shared"] == 0 and "code of excise.neurons.holding" in loud["made_of"]
    erasers = {r["provenance"]["eraser"] for r in rows[1:5]}
    assert len(erasers) == 4
    assert "code of excise.neurons.holding" in own["made_of"] and "code of excise.erasers" in own["made_of"]
    bench = made[0][0]
    lifted = pd.DataFrame([{"sha256": bench.eraser(cell).header["base"]["sha256"]} for _, cell in made])
    assert lifted["sha256"].nunique() == 1
    it_holds_the_neurons_it_should(bench, cells[1])
    assert (project / "docs/neurons.md").exists() and (project / "docs/images/neurons.png").exists()
    made.clear()
    assert run() == rows and not made
    # no time, and other code: the rows of before stay, marked; then they are made again
    place.write_text(json.dumps({"silencing": SILENCING | {"timesteps": 1, "hours": 1e-9}}))
    stale = run()
    assert stale == [r | {"stale": True} for r in rows] and not made
    assert "**0 of 9 cells are done.**" in (project / "docs/neurons.md").read_text()
    place.write_text(json.dumps({"silencing": SILENCING | {"shares": [0.1]}}))
    assert run() == rows[:5] and not made  # a smaller grid takes its rows over


def it_holds_the_neurons_it_should(bench: Any, cell: Cell) -> None:
    """Those that the ranking names, of values too, at the mean of the *neutral* prompts."""
    denoiser = erase.open_model(bench.base).denoiser
    units, seen = find_units(denoiser, True), bench.activations()
    chosen = carriers(units, seen, 0.1, denoiser)
    weights, pruned = held(units, chosen, seen, denoiser)
    eraser = bench.eraser(cell)
    assert eraser.pruned.keys() == pruned.keys() and any("to_v" in name for name in pruned)
    assert all(torch.equal(eraser.pruned[name], places) for name, places in pruned.items())
    assert all(torch.equal(eraser.weights[name], bias) for name, bias in weights.items())
    table = bench.prompts
    texts = {
        s: table[(table["set"] == s) & (table["split"] == "fit")]["prompt"].tolist() for s in ("target", "neutral")
    }
    model = erase.open_model(bench.base)
    unit = next(u for u in units if u.kind == "value")
    # values are of the prompt alone: what they are on neutral prompts can be computed from the text
    layer = denoiser.get_submodule(unit.name)
    with torch.no_grad():
        mean = {s: layer(model.encode(words)).double().mean((0, 1)) for s, words in texts.items()}
    found = moments_of(seen, unit.name, "b").mean.mean(0)
    assert torch.allclose(found, mean["neutral"], atol=1e-5) and not torch.allclose(found, mean["target"], atol=1e-5)
