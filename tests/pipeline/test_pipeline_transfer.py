"""Attacks that were made on one eraser's model, tried on another eraser's."""

from __future__ import annotations

import json
import math

import pytest
import yaml

from excise.cache import Cache, fingerprint
from excise.models import ModelSpec
from excise.pipelines.benchmark.standing import transfer_matrix
from excise.pipelines.erase.nodes import NeuronOptions
from excise.pipelines.evaluate import nodes as evaluate
from excise.pipelines.study_pruning.crew import Crew, group_of
from excise.pipelines.study_pruning.nodes import plan_shops
from excise.pipelines.study_pruning.plan import Cell, StudyOptions, is_carried_across, made_by, plan_cells
from excise.pipelines.study_pruning.rows import made_once
from excise.pipelines.study_pruning.shops import Shops
from tiny import BUDGET

pytestmark = pytest.mark.jobs

ATTACK = "random_tokens"  # no gradients: X alone is made
STUDY = {
    "concepts": ["person"],
    "attacks": ["unlearndiffatk", ATTACK],
    "transfer": [ATTACK],
    "across": True,
    "erasers": {"esd": {"variants": ["unpruned"]}, "uce": {"variants": ["unpruned"]}},
    "prompts": BUDGET["prompts"],
    "draw": BUDGET["draw"],
}


@pytest.fixture(scope="module")
def shops_of(make_project, tiny_folder, tmp_path_factory):
    concepts = yaml.safe_load((make_project() / "conf/base/concepts/person.yml").read_text())
    cache = Cache(tmp_path_factory.mktemp("cache"))

    def make(**erasers) -> tuple[list[Cell], Shops]:
        options = {n: {"method": n} | BUDGET["erasers"][n] | erasers.get(n, {}) for n in ("esd", "uce")}
        study, model = StudyOptions.model_validate(STUDY), ModelSpec(name="tiny", path=str(tiny_folder))
        info = {"id": "run", "versions": {}}
        cells, _, shops = plan_shops(
            study, concepts, model, options, BUDGET["attacks"], {}, NeuronOptions(), 1, cache, info
        )
        return cells, shops

    return make


def test_every_model_of_every_eraser_is_tried_with_the_others_attacks():
    three = {name: {"seeds": [1, 2], "variants": ["unpruned", "learned"], "once": ["plus"]} for name in ("esd", "ac")}
    study = StudyOptions.model_validate(STUDY | {"erasers": three | {"uce": {"variants": ["unpruned"]}}})
    carried = [c for c in plan_cells(study) if is_carried_across(c)]
    # esd and ac, seed 1: 3 x 3 each way, seed 2: 2 x 2 each way; uce has seed 1 alone: 3 each way with each of the two
    assert len(carried) == len({c.id for c in carried}) == 2 * (9 + 4) + 2 * 2 * 3
    assert {c.attack for c in carried} == {ATTACK}
    for cell in carried:
        eraser, variant = made_by(cell.eraser, cell.made_on)
        assert eraser != cell.eraser and (variant != "plus" or cell.seed == 1) and (eraser != "uce" or cell.seed == 1)
    within = [c for c in plan_cells(study) if c.made_on and not is_carried_across(c)]
    assert within == [c for c in plan_cells(StudyOptions.model_validate(dict(study) | {"across": False})) if c.made_on]


def test_a_carried_attack_is_the_others_and_what_it_meets_is_the_own_model(shops_of):
    cells, shops = shops_of()
    rows = [
        json.loads(json.dumps(shops.row(cell) | {"fingerprint": shops.fingerprint(cell)}))
        for cell in cells
        if cell.attack in ("plain", ATTACK) and cell.eraser in ("esd", "uce")
    ]
    carried = [r for r in rows if r.get("made_on")]
    assert {(r["eraser"], r["made_on"]) for r in carried} == {("esd", "uce.unpruned"), ("uce", "esd.unpruned")}
    for row in carried:
        other = made_by(row["eraser"], row["made_on"])[0]
        [made] = [r for r in rows if r["eraser"] == other and r["attack"] == ATTACK and not r.get("made_on")]
        assert all(row[k] == made[k] for k in ("gradient_steps", "images_judged", "found", "looks", "threat_model"))
        [own] = [r for r in rows if r["eraser"] == row["eraser"] and r["attack"] == ATTACK and not r.get("made_on")]
        assert row["provenance"]["eraser"] == own["provenance"]["eraser"] != made["provenance"]["eraser"]
        assert row["retain_verdicts"] == own["retain_verdicts"]
    matrix = transfer_matrix(rows, "person", ATTACK)
    assert list(matrix.columns) == ["ESD", "UCE"] and matrix.notna().all(axis=None)


def test_a_carried_attack_asks_the_other_model_and_imitates_its_pictures(shops_of, monkeypatch):
    """After the test above: everything is in the cache."""
    cells, shops = shops_of()
    original, seen = evaluate.attack_test_prompts, []

    def spy(concept, model, eraser, prompts, trajectories, *rest):
        seen.append((eraser.header["variant"], trajectories))
        return original(concept, model, eraser, prompts, trajectories, *rest)

    monkeypatch.setattr(evaluate, "attack_test_prompts", spy)
    for cell in filter(is_carried_across, cells):
        seen.clear()
        shops.row(cell)
        other = made_by(cell.eraser, cell.made_on)[0]
        [(variant, trajectories)] = seen
        assert variant == other and trajectories is shops.of(cell).trajectories(other)


def test_a_carried_row_depends_on_both_erasers(shops_of):
    cells, before = shops_of()

    def changed(**erasers) -> set[str]:
        now = shops_of(**erasers)[1]
        return {c.eraser + "<" + c.made_on for c in cells if now.fingerprint(c) != before.fingerprint(c)}

    carried = {"esd<uce.unpruned", "uce<esd.unpruned"}
    assert changed(esd={"lr": 0.5}) == {"esd<"} | carried
    assert changed(uce={"options": {"damping": 0.7}}) == {"uce<"} | carried


def test_processes_side_by_side_carry_over_what_the_others_have_made(shops_of):
    """Carried attacks wait for the erasers that other groups make, and train none of their own beside them."""
    cells, shops = shops_of()
    wanted = [c for c in cells if c.eraser in ("esd", "uce") and c.attack != "unlearndiffatk"]
    marks = {cell: fingerprint([cell, "crew"]) for cell in wanted}
    crew = Crew(2, shops, marks, math.inf)
    own, carried = ([c for c in wanted if is_carried_across(c) == across] for across in (False, True))
    assert {group_of(c) for c in carried} == {("person", "", 1)}
    crew.wait_for(own[0])
    assert not any(group_of(c) in crew._futures for c in carried)
    for cell in wanted:
        crew.wait_for(cell)
    crew.dismiss()
    rows = {cell: made_once(shops.cache, "cell", mark, -math.inf, dict) for cell, mark in marks.items()}
    for cell in carried:
        eraser, variant = made_by(cell.eraser, cell.made_on)
        made = rows[cell._replace(eraser=eraser, variant=variant, made_on="")]
        assert all(rows[cell][k] == made[k] for k in ("found", "images_judged", "looks"))
