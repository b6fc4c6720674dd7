"""The benchmark on a tiny model: every attack in one grid, and pages from the rows alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from excise.pipelines.benchmark.curves import curve, curves_figure
from excise.pipelines.benchmark.leaderboard import leaderboard_page, pareto
from excise.pipelines.benchmark.nodes import BenchmarkOptions
from excise.pipelines.benchmark.standing import share_of, table_of, told_apart, worst
from excise.pipelines.benchmark.summary import summary_page
from excise.pipelines.study_pruning.nodes import laid_over
from excise.pipelines.study_pruning.plan import plan_cells
from tiny import BUDGET

pytestmark = pytest.mark.jobs

ATTACKS = ["unlearndiffatk", "random_tokens", "textual_inversion", "img2img", "revival", "finetuning_lora"]
GRID = {
    "concepts": ["person"],
    "attacks": ATTACKS,
    "learns_against": "unlearndiffatk",
    "transfer": ["unlearndiffatk"],
    "erasers": {"ac": {"seeds": [1], "variants": ["unpruned", "learned"]}},
    "prompts": BUDGET["prompts"],
    "draw": BUDGET["draw"],
    "instead": {"attacks": {"finetuning_lora": {"method": "finetuning", "options": {"rank": 2}}}},
}


@pytest.fixture(scope="module")
def rows(make_project) -> list[dict]:
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project
    from kedro.runner import SequentialRunner

    from excise.pipelines import selection

    project = make_project()
    (project / "docs").mkdir()
    (project / "docs/benchmark.json").write_text("[]")
    (project / "conf/base/benchmark/parameters.yml").write_text(json.dumps({"benchmark": GRID}))
    bootstrap_project(project)
    try:
        with KedroSession.create(project) as session:
            session.run(pipeline_names=["benchmark"], runner=SequentialRunner())
    finally:
        selection.set_selection(None, {})
    written = Path(project / "data/08_reporting").rglob("leaderboard.html")
    page = next(written).read_text()
    assert "http" not in re.sub(r"data:image/png;base64,[^\"]+", "", page)  # nothing from outside
    assert (project / "docs/benchmark.md").read_text().startswith("# Benchmark")
    return json.loads((project / "docs/benchmark.json").read_text())


def test_as_it_ships_no_lucky_image_ends_an_attack_and_all_that_are_judged_have_the_same_budget():
    ships = Path(__file__).parents[2] / "conf/base"
    base = yaml.safe_load((ships / "evaluate/parameters.yml").read_text())["attacks"]
    grid = BenchmarkOptions.model_validate(
        yaml.safe_load((ships / "benchmark/parameters.yml").read_text())["benchmark"]
    )
    made = {a: laid_over(base.get(a, {}), grid.instead.attacks.get(a, {})) for a in grid.attacks}
    judged = {a: (o["images"], o.get("confirm", 0)) for a, o in made.items() if o.get("images")}
    assert {"random_tokens", "seed_search", "p4d"} <= set(judged) and set(judged.values()) == {(6, 2)}


def test_every_cell_has_a_row_with_its_threat_model_budget_and_provenance(rows):
    cells = plan_cells(BenchmarkOptions.model_validate(GRID))
    told = [(r["eraser"], r["variant"], r["attack"], r.get("made_on", "")) for r in rows]
    assert told == [(c.eraser, c.variant, c.attack, c.made_on) for c in cells]
    for row in rows:
        assert row["n"] + row["dropped"] + row["failed"] == BUDGET["prompts"]["test"]
        assert row["peak_mb"] > 0 and row["provenance"]["judges"] and row["provenance"]["versions"]
        assert ("eraser" in row["provenance"]) == (row["eraser"] not in ("none", "never_saw"))
        if row["attack"] == "plain":
            continue
        assert len(row["found"]) == BUDGET["prompts"]["test"] and row["confirmed"] <= row["found_new"]
        if not BUDGET["attacks"].get(row["attack"], {}).get("images"):
            assert row["images_judged"] == row["looks"] == 0 and set(row["found"]) <= {-1, -2}
            assert row["found"].count(-2) == row["dropped"]
        else:  # a prompt stops at its first hit, and at the limit of images otherwise
            limit = BUDGET["attacks"][row["attack"]]["images"]
            assert (
                row["images_judged"] == sum(limit if k < 0 else k for k in row["found"]) and max(row["found"]) <= limit
            )
        words = row["threat_model"] not in ("image", "weights")
        assert (row["sensitivity"] is not None) == (row["eraser"] == "ac" and words)
    for row in rows:
        assert row["retain_verdicts"].count("h") == row["retain_near"] + row["retain_far"]
        assert len(row["retain_verdicts"]) == row["retain_n"] == BUDGET["prompts"]["retain_test"]
        if row["attack"] == "plain":
            assert sum(c["right"] for c in row["collateral"]) == row["retain_verdicts"].count("h")
            assert sum(c["n"] for c in row["collateral"]) == row["retain_n"]
            assert all(0 <= c["distance"] <= 2 for c in row["collateral"])
    threats = {r["attack"]: r.get("threat_model") for r in rows}
    assert len({t for t in threats.values() if t}) == 5 and threats["finetuning_lora"] == "weights"


def test_pages_come_from_the_rows_alone(rows):
    page, summary = (
        leaderboard_page(rows, "command", len(rows), "tiny"),
        summary_page(rows, "command", len(rows), "tiny"),
    )
    table = table_of(rows)
    for name in table["name"].unique():
        assert f"<b>{name}</b>" in page and name in summary
    assert page.count("<tr") == 1 + table["name"].nunique()
    assert np.asarray(curves_figure(rows)).std() > 0
    ac = table[table["name"] == "AC"]
    attack, share = worst(ac)
    by_words = [r for r in rows if r["eraser"] == "ac" and r["variant"] == "unpruned" and not r.get("made_on")]
    by_words = [r for r in by_words if r.get("threat_model") in ("black-box text", "white-box text", "embedding")]
    assert share.rate == max(r["hits"] / r["n"] for r in by_words if r["n"])
    assert share_of(ac[ac["attack"] == attack]) == share


def test_a_transferred_attack_is_the_one_that_was_made_on_the_other_model(rows):
    from excise.pipelines.benchmark.standing import transfer_matrix

    carried = [r for r in rows if r.get("made_on")]
    assert {(r["made_on"], r["variant"]) for r in carried} == {("unpruned", "learned"), ("learned", "unpruned")}
    for row in carried:  # what it cost is what it cost there
        [made] = [
            r
            for r in rows
            if not r.get("made_on")
            and r["attack"] == row["attack"]
            and r["eraser"] == "ac"
            and r["variant"] == row["made_on"]
        ]
        assert all(row[k] == made[k] for k in ("gradient_steps", "model_evaluations", "images_judged", "found"))
    matrix = transfer_matrix(rows, "person", "unlearndiffatk")
    assert list(matrix.index) == list(matrix.columns) == ["AC", "P-AC"] and matrix.notna().all(axis=None)
    assert transfer_matrix([r for r in rows if not r.get("made_on")], "person", "unlearndiffatk").empty


def test_a_curve_counts_what_was_found_by_then():
    assert curve([0, 2, -1, 1], 3) == [0.25, 0.5, 0.75, 0.75]
    assert curve([0, 2, -1, 1, -2, -2], 3) == curve([0, 2, -1, 1], 3)  # the dropped were not attacked
    assert curve([-2], 1) == [0.0, 0.0]


def test_a_benchmark_of_which_nothing_is_done_has_pages_too():
    silent = [{"eraser": "silenced", "variant": "unpruned", "attack": "plain", "concept": "person", "kind": "nsfw"}]
    assert "No cell" in summary_page(silent, "command", 9, "tiny")
    assert "0 of 9" in leaderboard_page([], "command", 9, "tiny") and "1 of 9" in leaderboard_page(silent, "c", 9, "t")


def test_the_front_is_what_nobody_beats():
    points = [(0.9, 0.5), (0.8, 0.2), (0.7, 0.3), (0.95, 0.5), (0.5, 0.1), (0.5, 0.4)]
    front = pareto(points)
    assert front == [(0.95, 0.5), (0.8, 0.2), (0.5, 0.1)]
    for kept, broken in points:
        beaten = any(k >= kept and b <= broken and (k, b) != (kept, broken) for k, b in points)
        assert ((kept, broken) in front) == (not beaten)


def test_models_are_told_apart_by_a_corrected_exact_test():
    from scipy.stats import binomtest

    def row(eraser, verdicts):
        return {
            "concept": "c",
            "kind": "object",
            "eraser": eraser,
            "variant": "unpruned",
            "attack": "pez",
            "seed": 1,
            "verdicts": verdicts,
            "hits": verdicts.count("h"),
            "n": 20,
            "threat_model": "white-box text",
        }

    table = table_of([row("esd", "h" * 20), row("ac", "." * 20), row("uce", "h" * 8 + "." * 12), row("none", "h" * 20)])
    pairs = told_apart(table, "pez").set_index(["first", "second"])
    assert len(pairs) == 3  # the base model is no eraser
    ps = {("ESD", "AC"): 20, ("ESD", "UCE"): 12, ("AC", "UCE"): 8}
    raw = {k: binomtest(0, n).pvalue for k, n in ps.items()}
    for pair, p in raw.items():
        assert pairs.loc[pair, "p"] == pytest.approx(p)
    order = sorted(raw, key=raw.get)  # Holm by hand
    largest = 0.0
    for rank, pair in enumerate(order):
        largest = max(largest, min(1.0, raw[pair] * (3 - rank)))
        assert pairs.loc[pair, "corrected"] == pytest.approx(largest)
    assert pairs.loc[("ESD", "AC"), "difference"] == 1 and pairs.loc[("AC", "UCE"), "difference"] == -0.4
