"""What a page says is left of pruning under the strongest attacks, and of prompts that nobody judged."""

from __future__ import annotations

import json

import pytest

from excise.metrics.paired import score_interval
from excise.pipelines.benchmark.left import left_of_pruning
from excise.pipelines.benchmark.standing import table_of
from excise.pipelines.study_pruning.unjudged import unjudged_note
from tiny import PROJECT

THREATS = {"pez": "white-box text", "gcg": "white-box text", "tina": "image"}


def row(variant: str, attack: str, hits: int, **more) -> dict:
    return {
        **{"concept": "c", "kind": "object", "eraser": "ac", "variant": variant, "attack": attack, "seed": 1},
        **{"verdicts": "h" * hits + "." * (20 - hits), "hits": hits, "n": 20, "device": "cpu"},
        "threat_model": THREATS.get(attack),
    } | more


# X falls to one attack by words, P-X to the other, and X+ to none
ROWS = [
    *(row(v, "plain", 0) for v in ("unpruned", "plus", "learned")),
    *(row(v, a, n) for v, a, n in [("unpruned", "pez", 12), ("unpruned", "gcg", 3), ("learned", "pez", 1)]),
    *(row(v, a, n) for v, a, n in [("learned", "gcg", 2), ("plus", "pez", 0), ("plus", "gcg", 0)]),
    *(row(v, "tina", 20) for v in ("unpruned", "plus", "learned")),
]


def lines(rows: list[dict]) -> dict[str, list[str]]:
    table = [line for line in left_of_pruning(table_of(rows)).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert cells[0] == ["threat model", "P-AC less AC", "P-AC less AC+"]
    return {first: rest for first, *rest in cells[2:]}


def test_each_model_faces_the_attack_that_does_most_to_it() -> None:
    found = lines(ROWS)
    low, high = (100 * v for v in score_interval(0, 10, 20))  # 12 hits of X by PEZ, 2 of P-X by GCG, both among them
    assert found["white-box text"] == [f"-50 points ({low:+.0f} to {high:+.0f})", "+10 points (-8 to +30)"]
    assert found["image"] == ["+0 points (-16 to +16)"] * 2
    assert "with its interval: P-AC less AC (white-box text); 1 of 4." in left_of_pruning(table_of(ROWS))


def test_an_attack_that_one_of_them_did_not_face_compares_nothing() -> None:
    found = lines([r for r in ROWS if (r["variant"], r["attack"]) != ("learned", "pez")])
    assert found["white-box text"][0].startswith("-5 points")  # GCG alone: 2 less 3
    assert lines([r for r in ROWS if (r["variant"], r["attack"]) != ("learned", "tina")])["image"] == ["–", "–"]


def test_trainings_that_one_of_them_lacks_are_left_out() -> None:
    """As a run leaves them that was stopped: a seed's variants are made one after another."""
    more = [r | {"seed": s, "verdicts": r["verdicts"][::-1]} for r in ROWS for s in (3, 2)]  # 2 after 3, as merged
    whole = lines([*ROWS, *more])
    stopped = lines([*more, *(r | {"seed": 4} for r in ROWS if r["variant"] != "learned"), *ROWS])
    assert stopped == whole
    fewer = [*ROWS, *(r for r in more if r["variant"] != "learned")]  # P-X has the first alone
    assert lines(fewer) == lines(ROWS)
    assert lines([r | {"seed": 2} if r["variant"] == "learned" else r for r in ROWS])["image"] == ["–", "–"]


def test_without_p_x_there_is_nothing_to_say() -> None:
    assert left_of_pruning(table_of([r for r in ROWS if r["variant"] != "learned"])) == ""
    assert left_of_pruning(table_of([r for r in ROWS if r["attack"] == "plain"])) == ""


@pytest.mark.parametrize(("verdicts", "said"), [("h.fd", "AC of `c` 1 dropped, 1 failed of 4"), ("hh..", "")])
def test_prompts_about_other_things_that_nobody_judged_are_told_of(verdicts: str, said: str) -> None:
    rows = [row("unpruned", a, 1, retain_verdicts=verdicts) for a in ("plain", "pez")]
    told = unjudged_note([*rows, row("plus", "plain", 0), row("learned", "plain", 0, retain_verdicts="hhhh")])
    assert (said in told and told.count("of `c`") == 1) if said else told == ""


def test_what_the_pages_say_is_left_is_what_the_rows_say() -> None:
    table = table_of(json.loads((PROJECT / "docs/benchmark.json").read_text()))
    told = {
        concept: left_of_pruning(part).split("with its interval: ")[1].splitlines()[0]
        for concept, part in table.groupby("concept")
    }
    assert told == {
        "person": "P-AC less AC (white-box text); P-ESD less ESD (white-box text); P-AC less AC (embedding); 3 of 20.",
        "fluent": "P-ESD less ESD (embedding); 1 of 20.",
    }
    shown = left_of_pruning(table[table["concept"] == "person"])
    assert "| white-box text | -45 points" in shown and "| embedding | -55 points" in shown and "| -30 points" in shown
    said = (
        "(45 points) and learned words (55), P-ESD below ESD under white-box text (30), and on the style under learned"
    )
    for page in ("README.md", "docs/findings.md"):
        assert said in " ".join((PROJECT / page).read_text().split())


def test_what_the_pages_say_of_the_study_under_the_strongest_attacks_is_what_its_rows_say() -> None:
    rows = json.loads((PROJECT / "docs/strongest/results.json").read_text())
    told = {
        concept: [r for r in rows if (r["concept"], r["eraser"]) == (concept, "ac")] for concept in ("person", "fluent")
    }
    asked = told["person"]
    assert {r["seed"] for part in told.values() for r in part} == {1}
    hits = {(r["attack"], r["variant"]): (r["hits"], r["second_hits"]) for r in asked if r["attack"] != "plain"}

    def of(attack: str) -> list[tuple[int, int]]:
        return [hits[attack, variant] for variant in ("unpruned", "learned", "plus")]

    assert of("p4d") == [(11, 21), (1, 1), (0, 0)] and of("textual_inversion_long") == [(28, 36), (0, 0), (0, 0)]
    assert [h for h, _ in of("relearning_10")] == [38, 41, 30]
    back = [h for attack in ("tina", "relearning") for h, _ in of(attack)]
    assert (min(back), max(back)) == (43, 47) and hits["ring_a_bell", "unpruned"][0] == 2
    shown = left_of_pruning(table_of(asked))
    assert "| white-box text | -20 points (-34 to -8) |" in shown and "| embedding | -56 points (-69 to -42) |" in shown
    style = {(r["attack"], r["variant"]): r["hits"] for r in told["fluent"]}
    for attack, found in (("p4d", [19, 8, 9]), ("ring_a_bell", [13, 6, 7]), ("textual_inversion_long", [43, 28, 29])):
        assert [style[attack, variant] for variant in ("unpruned", "learned", "plus")] == found
    shown = left_of_pruning(table_of(told["fluent"]))
    assert "| white-box text | -22 points (-37 to -6) |" in shown and "| embedding | -30 points (-46 to -13) |" in shown
    assert "P-AC less AC+ (" not in shown
    for page in ("README.md", "docs/findings.md"):
        said = " ".join((PROJECT / page).read_text().split())
        assert "On the study's 50 prompts it is the same" in said and "P-AC is back in 41, AC in 38" in said
