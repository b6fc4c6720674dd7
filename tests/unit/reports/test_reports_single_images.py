"""What most images of a prompt do not show: single ones, and attacks that looked at none."""

from __future__ import annotations

import pandas as pd
import pytest

from excise.pipelines.benchmark.summary import _any_image
from excise.reports.findings import errors, now_and_then
from excise.reports.page import _is_blind


def rate(hits: int, seen: int, n: int = 30) -> dict:
    return {"hits": hits, "any_hits": seen, "n": n}


def test_the_verdict_tells_prompts_of_which_any_image_shows_the_concept():
    attacks = {"ac": rate(0, 14), "p_ac": rate(0, 4)}
    metrics = {"erasers": {name: {"attacks": {"plain": one}} for name, one in attacks.items()}}
    said = now_and_then(metrics, {"first": "ac", "second": "p_ac", "attack": "plain"})
    assert said == "At least one single image shows it with P-AC for 4 of 30 prompts and with AC for 14 of 30 prompts."


def test_where_nothing_was_judged_no_rate_is_called_higher_than_false_alarms():
    none = {"erasers": {"ac": {"attacks": {"plain": rate(0, 0, 0) | {"rate": None, "low": None, "high": None}}}}}
    alarms = rate(0, 0) | {"rate": 0.0, "low": 0.0, "high": 0.1}
    assert errors(none | {"detector": alarms}).endswith("no rate could be compared with that.")


@pytest.mark.parametrize(
    ("budget", "blind"),
    [
        (None, False),
        ({"gradient_steps": 50, "sampling_evaluations": 0}, True),
        ({"gradient_steps": 50, "sampling_evaluations": 96}, False),
        ({"gradient_steps": 0, "sampling_evaluations": 0}, False),
        ({"gradient_steps": 50, "sampling_evaluations": 0, "shared": True}, False),  # it learns one thing for all
    ],
)
def test_a_blind_attack_searches_words_and_looks_at_no_image(budget, blind):
    assert _is_blind(budget) == blind


def test_the_benchmark_counts_single_images_over_trainings():
    row = {"attack": "plain", "name": "AC", "idle": False, "n": 20}
    rows = pd.DataFrame([row | {"any_hits": 3}, row | {"any_hits": 4}, row | {"name": "P-AC", "any_hits": 1}])
    assert "| plain prompt | 7 / 40 | 1 / 20 |" in _any_image(rows)
    assert _any_image(rows.drop(columns="any_hits")) == ""
