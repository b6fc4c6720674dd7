"""``docs/performance.md`` shows what was missed as plainly as what holds."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOOP = {
    "loop": "once",
    "learns": "shared",
    "rows_a_step": 16,
    "lr": 1e-3,
    "steps": 60,
    "seconds_a_step": 0.1,
    "evaluations_a_step": 24.5,
}
REACHED = {"steps": 40, "seconds": 10.0, "model_evaluations": 400}
LOOP |= {"loss": {"base": 0.004, "own": 0.007}, "reached": {"base": REACHED, "own": REACHED}}
SLOWER = {"steps": 10, "seconds": 5.0, "model_evaluations": 200}
NAIVE = LOOP | {"loop": "naive", "learns": "base", "evaluations_a_step": 20.1, "reached": {"base": SLOWER, "own": None}}
MISSED = NAIVE | {"reached": {"base": None, "own": {"steps": 55, "seconds": 40.0}}, "loss": {"base": 0.024, "own": 0.1}}
LOSSES = {"loss_before": {"base": 0.016, "own": 0.015}, "loss_asked": {"base": 0.005, "own": 0.0075}}
SHARED = {
    **{"stage": "ESD from shared trajectories", "prompts": 8, "ratios": {"base": 0.25, "own": 1.5}, **LOSSES},
    **{"rates_tried_for_one_row": [2.5e-4, 6.25e-5], "trial_steps": 120, "loops": [LOOP, NAIVE]},
    **{"machine": "m", "torch": "t", "threads": 3},
}


@pytest.fixture(scope="module")
def writer():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("page")
    sys.path.remove(str(ROOT / "benchmarks"))


def test_the_page_is_what_its_writer_makes_of_the_record(writer):
    rows = json.loads((ROOT / "benchmarks/results.json").read_text())
    assert (ROOT / "docs/performance.md").read_text() == writer.page(rows)


def test_what_is_asked_and_missed_is_shown(writer):
    row = {"ratio": 1.2, "threads": 1, "machine": "m", "torch": "t"}
    stages = {"attack pez, 8 prompts": "| at most 1.25 | yes |", "collecting activations": "| at most 1.15 | **no** |"}
    stages["drawing, 8 pictures"] = "| – | – |"
    rows = [row | {"stage": stage} for stage in stages]
    arithmetic = {k: v for k, v in row.items() if k != "ratio"} | {"stage": "attack merging, one for all prompts"}
    stages[arithmetic["stage"]] = "| – | – |"
    page = writer.page([*rows, arithmetic])
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in page.splitlines() if line.startswith("| ")}
    for stage, told in stages.items():
        assert told in lines[stage]


def test_there_is_a_ratio_only_at_equal_loss(writer):
    page = writer.page([SHARED])
    assert "base model's trajectories: the ratio of the seconds is 0.25, that holds." in page
    assert "student's own: the ratio of the seconds is 1.5, that does **not** hold" in page
    assert page.count("not reached") == 1 and "0.015 on the student's own, asked is 0.005 on the base" in page
    missed = writer.page([SHARED | {"ratios": {"base": None, "own": 0.4}, "loops": [LOOP, MISSED]}])
    assert "base model's trajectories: **not shown**" in missed and "0.25" not in missed
    assert "| naive | 16 | 0.001 | 20.1 | 0.1 | **not reached** in 60 steps, 0.024 | 55 steps, 40.0 s |" in missed
    assert (
        "takes 0.50 of the time of the naive loop on the base model, and 10.0 model evaluations in the place of 20.0"
        in page
    )
    assert "of the time of the naive loop" not in missed  # of other losses steps are no comparison
    assert "the better of 0.00025, 6.25e-05 in 120 steps" in page
    assert "ends higher" not in page and "ends higher" not in missed
    risen = {"loss": {"base": 0.004, "own": 0.02}}
    assert "ends higher" in writer.page([SHARED | {"loops": [LOOP | risen, MISSED]}])
