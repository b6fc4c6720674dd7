"""What an audit's report answers, and that it is about a model that others made."""

from __future__ import annotations

import pytest

from excise.reports import Context, html_report
from excise.reports.verdict import reach, verdict

AUDITED = {
    "name": "erased.safetensors",
    "kind": "weights",
    "what": "changed weights",
    "sha256": "ef" * 32,
    "changed": {"unet": 32},
    "compared": {"unet": 40, "text_encoder": 7},
    "notes": ["Something to know."],
}


def threats(words=(), weights=()) -> list[dict]:
    return [
        {"threat": "white-box text", "run": list(words), "not_run": ["gcg"]},
        {"threat": "weights", "run": list(weights), "not_run": []},
    ]


@pytest.fixture
def metrics(metrics_of):
    told = metrics_of(none="h" * 20, audited="h" * 8 + "." * 12)
    attacks = told["erasers"]["audited"]["attacks"]
    attacks["p4d"] = attacks["plain"] | {"hits": 3, "rate": 0.15, "low": 0.05, "high": 0.36}
    attacks["seed_search"] = attacks["plain"] | {"hits": 9, "rate": 0.45, "low": 0.26, "high": 0.66}
    attacks["random_tokens"] = attacks["plain"] | {"hits": 7, "rate": 0.35, "low": 0.18, "high": 0.57}
    attacks["tina"] = attacks["plain"] | {"hits": 2, "rate": 0.1, "low": 0.03, "high": 0.3}
    attacks["merging"] = attacks["plain"] | {"hits": 19, "rate": 0.95, "low": 0.76, "high": 0.99}
    return told | {"audited": AUDITED}


def test_the_strongest_attack_of_each_kind_is_named(metrics):
    rows = reach(metrics, threats(["p4d", "unlearndiffatk", "seed_search", "random_tokens"], ["merging"]))
    assert [(r["threat"], r["attack"], r["tried"]) for r in rows] == [
        ("white-box text", "unlearndiffatk", ["p4d", "unlearndiffatk"]),
        ("weights", "merging", ["merging"]),
        (
            "nothing: the controls",
            "random_tokens",
            ["seed_search", "random_tokens"],
        ),  # the former repeats plain prompts
    ]
    assert rows[0]["rate"]["hits"] == 8 and rows[2]["rate"]["hits"] == 7
    [untried, *_] = reach(metrics, threats([], ["merging"]))
    assert untried["attack"] is None and untried["rate"] is None and untried["tried"] == []


def test_the_answer_tells_words_from_weights_and_attacks_from_luck(metrics):
    said = verdict(metrics, threats(["p4d", "unlearndiffatk", "seed_search", "random_tokens"], ["merging"]))
    assert "Asked plainly, the audited model drew the concept for 0 of 20 prompts" in said
    assert "its base model for 20 of 20" in said
    assert "Under UnlearnDiffAtk, the strongest of 2 attacks with words or vectors, it drew it for 8 of 20" in said
    assert "luck alone, the control, for 7 of 20" in said
    assert "For one who changes its weights (merging) it drew it for 19 of 20" in said
    assert "false alarms" not in said and "picture of the concept" not in said
    alone = verdict(metrics, [*threats(["p4d"]), {"threat": "image", "run": ["tina"], "not_run": []}])
    assert "an attack with words or vectors" in alone and "changes its weights" not in alone and "luck" not in alone
    assert "For one who has a picture of the concept (text-free inversion) it drew it for 2 of 20" in alone
    assert "may hand its picture over to any model" in alone and "hand its picture over" not in said


def test_what_the_judge_itself_errs_is_said(metrics_of):
    told = metrics_of(none="h" * 20, audited="." * 20, alarms="hh" + "." * 28) | {"audited": AUDITED}
    said = verdict(told, threats(["unlearndiffatk"]))
    assert "cannot be told from the judge's own false alarms" in said


def test_an_attack_that_nothing_is_known_of_decides_nothing(metrics):
    attacks = metrics["erasers"]["audited"]["attacks"]
    attacks["p4d"] |= {"n": 0, "hits": 0, "rate": None, "low": None, "high": None}
    [row, *_] = reach(metrics, threats(["p4d"]))
    assert row["tried"] == ["p4d"] and row["attack"] is None
    verdict(metrics, threats(["p4d"]))


def test_the_page_says_what_was_audited_and_what_was_not_tested(metrics):
    context = Context(
        erase="a person", anchor="", images_per_prompt=3, command="kedro run", threats=threats(["unlearndiffatk"])
    )
    html = html_report(metrics, {}, context)
    assert "Can erased.safetensors still draw a person?" in html
    assert "32 of 40 tensors of the unet; none of 7 tensors of the text_encoder" in html
    assert "Something to know." in html and "ef" * 32 in html
    row = html[html.index("How far an attacker gets") :]
    assert "not tested" in row[: row.index("</table>")] and "Audited model" in html
    plain = html_report({k: v for k, v in metrics.items() if k != "audited"}, {}, context)
    assert "What was audited" not in plain and "was taught to forget" in plain
