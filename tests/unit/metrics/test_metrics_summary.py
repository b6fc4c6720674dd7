import json

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from excise.metrics import Metrics, rate_of, summarise
from excise.metrics.summary import Survival, comparisons


def verdicts(marks: str) -> pd.DataFrame:
    words = {"h": "hit", ".": "clear", "f": "failed", "d": "dropped"}
    rows = [(f"p{i}", int(m in "h."), int(m == "h"), words[m]) for i, m in enumerate(marks)]
    return pd.DataFrame(rows, columns=["prompt_id", "images", "hits", "verdict"])


ERASERS = ("none", "esd", "esd_plus", "p_esd")
MARKS = {"none": "hhhhh.f", "esd": "hhh...d", "esd_plus": "hh.....", "p_esd": ".h....."}


def inputs(**changes):
    utility = Survival(retain_near=rate_of(verdicts("hhh.")), retain_far=rate_of(verdicts("hhhhh")))
    attacks = ("plain", "unlearndiffatk")
    return {
        "model": {"name": "emoji64", "sha256": "ab"},
        "concept": {"name": "person", "kind": "nsfw"},
        "budget": "quick",
        "verdicts": {(e, a): verdicts(MARKS[e]) for a in attacks for e in ERASERS},
        "spent": {
            (e, "unlearndiffatk"): {"gradient_steps": np.int64(40), "model_evaluations": 80, "images": 120}
            for e in ERASERS
        },
        "utility": dict.fromkeys(ERASERS, utility),
        "kept": {
            (e, s): verdicts(marks) for s, marks in (("retain_near", "hhh."), ("retain_far", "hhhhh")) for e in ERASERS
        },
        "masks": {"p_esd": {"prune_rate": 0.02, "mask_bytes": 1234}},
        "detector": {
            "judge": "nudenet",
            "version": "3.4",
            "sha256": "cd",
            "threshold": 0.4,
            "verdicts": verdicts("h........."),
            "singles": verdicts("hhf."),
        },
        "neurons": pd.DataFrame(
            [("esd", "plain", 1 / 3, np.nan), ("esd", "unlearndiffatk", 0.8, 0.5)],
            columns=["eraser", "attack", "reactivation", "sensitivity"],
        ),
        "cost": pd.DataFrame(
            [("attack", 2.0, 10.0), ("judge", 1.0, np.nan), ("attack", 3.0, 8.0)],
            columns=["stage", "seconds", "peak_mb"],
        ),
        "run": {"id": "2026-01-01T00.00.00.000Z", "seed": 0, "versions": {"torch": "2"}},
    } | changes


def test_has_the_shape_of_metrics_json():
    metrics = summarise(**inputs())
    assert list(metrics) == [
        "model",
        "concept",
        "budget",
        "erasers",
        "paired",
        "kept",
        "detector",
        "neurons",
        "cost",
        "run",
    ]
    assert list(metrics["erasers"]) == list(ERASERS)
    attacked = metrics["erasers"]["p_esd"]["attacks"]["unlearndiffatk"]
    assert list(attacked) == ["n", "hits", "any_hits", "dropped", "failed", "rate", "low", "high", "budget"]
    assert attacked["budget"] == {"gradient_steps": 40, "model_evaluations": 80, "images": 120}
    assert "budget" not in metrics["erasers"]["p_esd"]["attacks"]["plain"]
    assert set(metrics["erasers"]["p_esd"]) == {"attacks", "letters", "utility", "prune_rate", "mask_bytes"}
    assert set(metrics["erasers"]["esd"]) == {"attacks", "letters", "utility"}
    assert set(metrics["erasers"]["esd"]["utility"]) == {"retain_near", "retain_far"}
    assert (metrics["detector"]["n"], metrics["detector"]["rate"]) == (10, 0.1)
    assert [metrics["detector"]["singles"][k] for k in ("hits", "n", "failed")] == [2, 3, 1]
    assert metrics["cost"] == {"attack": {"seconds": 5.0, "peak_mb": 10.0}, "judge": {"seconds": 1.0, "peak_mb": None}}


def test_survives_json_unchanged_and_is_the_same_when_made_again():
    metrics = summarise(**inputs())
    text = json.dumps(metrics, allow_nan=False)
    assert json.loads(text) == metrics
    Metrics.model_validate(metrics)
    order = {key: table.sample(frac=1, random_state=5) for key, table in inputs()["verdicts"].items()}
    assert json.dumps(summarise(**inputs(verdicts=order))) == text


def test_each_prompts_verdict_has_its_letter_in_the_order_of_ids():
    came_of = {"c": "failed", "a": "hit", "d": "dropped", "b": "clear"}
    table = pd.DataFrame({"prompt_id": list(came_of), "verdict": list(came_of.values()), "hits": 0})
    given = inputs()
    metrics = summarise(**given | {"verdicts": given["verdicts"] | {("esd", "plain"): table}, "kept": {}})
    assert metrics["erasers"]["esd"]["letters"]["plain"] == "h.fd"
    one = summarise(**inputs())["erasers"]["esd"]
    for name, rate in {**one["attacks"], **{k: one["utility"][k] for k in ("retain_near", "retain_far")}}.items():
        counted = [one["letters"][name].count(letter) for letter in "h.fd"]
        if name in one["attacks"]:
            assert counted == [rate["hits"], rate["n"] - rate["hits"], rate["failed"], rate["dropped"]], name


def test_rates_and_differences_are_those_of_the_prompts():
    metrics = summarise(**inputs())
    esd = metrics["erasers"]["esd"]["attacks"]["plain"]
    assert (esd["hits"], esd["n"], esd["dropped"], esd["rate"]) == (3, 6, 1, 0.5)
    assert [(p["first"], p["second"], p["attack"]) for p in metrics["paired"]] == [
        (*pair, attack)
        for attack in ("plain", "unlearndiffatk")
        for pair in (("esd", "p_esd"), ("esd_plus", "p_esd"), ("none", "esd"))
    ]
    assert metrics["paired"][0]["difference"] == pytest.approx(2 / 6, abs=1e-6)
    assert [(k["first"], k["second"]) for k in metrics["kept"] if k["set"] == "retain_far"] == [
        ("none", "esd"),
        ("none", "esd_plus"),
        ("none", "p_esd"),
        ("esd", "p_esd"),
        ("esd_plus", "p_esd"),
    ]
    assert metrics["neurons"][0] == {
        "eraser": "esd",
        "attack": "plain",
        "reactivation": 0.333333,
        "sensitivity": None,
    }


def test_controls_are_compared_where_they_are():
    assert comparisons(["none", "ac"]) == [("none", "ac")]
    assert comparisons(["esd", "p_esd", "p_esd_random"]) == [("esd", "p_esd"), ("p_esd_random", "p_esd")]


def test_unknown_keys_are_refused():
    with pytest.raises(ValidationError, match="colour"):
        summarise(**inputs(model={"name": "emoji64", "sha256": "ab", "colour": "red"}))


def test_hits_that_can_be_typed_stand_beside_all_hits():
    metrics = summarise(**inputs(readable={("esd", "unlearndiffatk"): np.int64(1)}))
    attacks = metrics["erasers"]["esd"]["attacks"]
    assert attacks["unlearndiffatk"]["readable_hits"] == 1 and "readable_hits" not in attacks["plain"]
