"""What more gradient steps of one attack bring back, from the committed rows of the benchmark."""

from __future__ import annotations

import json

import numpy as np
import pytest

from excise.pipelines.benchmark.efforts import efforts, efforts_figure
from excise.pipelines.benchmark.standing import table_of
from tiny import PROJECT


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return json.loads((PROJECT / "docs/benchmark.json").read_text())


def test_lengths_of_one_attack_stand_side_by_side(rows: list[dict]) -> None:
    person = [r for r in rows if r["concept"] == "person" and not r.get("made_on")]
    found = efforts(table_of(person))
    assert set(found) == {"relearning", "textual_inversion"}  # none that searches prompt by prompt, or takes no steps
    names = {0: "plain", 3: "relearning_3", 10: "relearning_10", 30: "relearning"}
    told = found["relearning"]
    assert set(told["steps"]) == set(names)
    for model in (("ac", "unpruned", "AC"), ("esd", "learned", "P-ESD"), ("none", "unpruned", "Base model")):
        for steps, attack in names.items():
            [row] = [r for r in person if (r["eraser"], r["variant"], r["attack"]) == (*model[:2], attack)]
            [share] = told[(told["name"] == model[2]) & (told["steps"] == steps)]["share"]
            assert (share.hits, share.n) == (row["hits"], row["n"]) and row.get("gradient_steps") in (steps, None)


def test_a_length_that_a_model_lacks_moves_no_other(rows: list[dict]) -> None:
    asked = [r for r in rows if r["attack"] in ("plain", "relearning", "relearning_10", "relearning_3")]
    fewer = [r for r in asked if (r["attack"], r["eraser"]) != ("relearning_3", "ac")]
    told = efforts(table_of([r for r in fewer if r["concept"] == "person"]))["relearning"]
    assert sorted(told[told["name"] == "AC"]["steps"]) == [0, 10, 30]
    assert (np.asarray(efforts_figure(fewer)) != np.asarray(efforts_figure(asked))).any()


def test_where_no_attack_has_two_lengths_the_figure_says_so(rows: list[dict]) -> None:
    assert efforts(table_of([r for r in rows if r["attack"] in ("plain", "relearning", "pez")])) == {}
    blank = np.asarray(efforts_figure([r for r in rows if r["attack"] in ("plain", "pez")]))
    assert blank.std() > 0 and np.asarray(efforts_figure([])).std() > 0
