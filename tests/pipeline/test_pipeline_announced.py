"""What a job announces before it starts, against what the committed rows say that it took."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from excise.attacks import AttackOptions, make_attack
from excise.pipelines.names import PLAIN
from excise.pipelines.study_pruning.nodes import laid_over

ROOT = Path(__file__).parents[2]
FORWARD = 1 / 3  # of an evaluation with a backward pass


def described(file: str) -> dict:
    return yaml.safe_load((ROOT / "conf/base" / file / "parameters.yml").read_text())


GRID, ROWS = described("benchmark")["benchmark"], json.loads((ROOT / "docs/benchmark.json").read_text())


@pytest.mark.parametrize("name", GRID["attacks"])
def test_an_attack_that_is_not_stopped_takes_the_evaluations_that_are_announced(name: str) -> None:
    above, tried = GRID["instead"]["attacks"].get(name, {}), described("evaluate")["attacks"]
    below = tried.get(name) or tried[above["method"]]
    options = AttackOptions.model_validate({"method": name} | laid_over(below, above))
    announced = make_attack(options).work(options, GRID["prompts"]["test"])
    rows = [r for r in ROWS if r["attack"] == name != PLAIN and not r.get("made_on") and not r.get("idle")]
    spent = [
        r["model_evaluations"]
        if r["shared"]
        else r["gradient_steps"] + FORWARD * (r["model_evaluations"] - r["gradient_steps"])
        for r in rows
        if r["model_evaluations"]  # 0: of the text encoder alone, or all prompts were hits beforehand
    ]
    # a prompt stops at its first hit, so most rows took less; in one at least none of them was hit on the way
    assert max(spent, default=0) <= announced and announced - max(spent, default=0) <= 1
