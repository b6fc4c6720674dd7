"""What a page says is left of pruning under the strongest attacks, and of prompts that nobody judged."""

from __future__ import annotations

import json

import pytest
import yaml

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
        "church": "P-AC less AC (embedding); 1 of 20.",
    }
    shown = left_of_pruning(table[table["concept"] == "person"])
    assert "| white-box text | -45 points" in shown and "| embedding¹ | -55 points" in shown and "| -30 points" in shown
    assert "| embedding¹ | -55 points" in left_of_pruning(table[table["concept"] == "church"])
    said = "(45 points) and learned words (55), P-ESD below ESD on persons under white-box text (30) and on the style"
    church = table[(table["concept"] == "church") & ~table["name"].isin(["Base model", "never saw it"])]
    hits = {attack: part.set_index("name")["hits"].to_dict() for attack, part in church.groupby("attack")}
    by_words = [a for a, part in church.groupby("attack") if part["threat_model"].iloc[0].endswith("text")]
    assert len(by_words) == 9 and not any(any(hits[a].values()) for a in (*by_words, "plain", "img2img"))
    six = ("AC", "AC+", "P-AC", "ESD", "ESD+", "P-ESD")
    assert [hits["textual_inversion_long"][n] for n in six] == [14, 1, 3, 1, 0, 0]
    assert [hits["relearning"][n] for n in six] == [16, 15, 17, 2, 14, 13]
    assert [hits["merging"][n] for n in six] == [0, 0, 0, 8, 3, 11]
    for page in ("README.md", "docs/findings.md"):
        text = " ".join((PROJECT / page).read_text().split())
        assert said in text and "P-AC below AC on churches under learned words (55)" in text
        assert "church comes back through no" in text
    assert "bring 16, 15 and 17 back from AC, AC+ and P-AC, and 2, 14 and 13 from ESD" in text
    assert "model brings 8, 3 and 11 of ESD's three back" in text


def test_what_the_pages_say_of_the_study_under_the_strongest_attacks_is_what_its_rows_say() -> None:
    rows = json.loads((PROJECT / "docs/strongest/results.json").read_text())
    assert {r["seed"] for r in rows if r["eraser"] in ("ac", "esd")} == {1}
    findings = (PROJECT / "docs/findings.md").read_text()
    told = findings.partition("### The same on the study's prompts")[2].partition("### On a style")[0]
    labels = ("plain prompts", "P4D", "Ring-A-Bell", "four learned", "text-free", "relearning, 10", "relearning, 30")
    lines = {at: line for at in labels for line in told.splitlines() if line.startswith(f"| {at}")}
    attacks = ["plain", "p4d", "ring_a_bell", "textual_inversion_long", "tina", "relearning_10", "relearning"]
    kept = []
    for attack, line in zip(attacks, lines.values(), strict=True):
        for concept, eraser, cell in zip(
            ("person", "person", "fluent", "fluent", "church", "church"),
            ("ac", "esd") * 3,
            line.strip("| ").split("|")[1:],
            strict=True,
        ):
            by = {
                r["variant"]: r for r in rows if (r["concept"], r["eraser"], r["attack"]) == (concept, eraser, attack)
            }
            three = [by[variant] for variant in ("unpruned", "plus", "learned")]
            counts = ", ".join(f"{r['hits']}" + (f" of {r['n']}" if r["n"] != 50 else "") for r in three)
            second = ", ".join(str(r.get("second_hits")) for r in three)
            assert cell.strip() == (f"{counts} ({second})" if concept == "person" else counts)
            if attack == "plain":
                kept.append("{}, {} and {}".format(*(r["retain_near"] + r["retain_far"] for r in three)))
    assert "; ".join(kept) in " ".join(told.split())
    shown = {
        (concept, eraser): left_of_pruning(
            table_of([r for r in rows if r["concept"] == concept and r["eraser"] in (eraser, "none")])
        )
        for concept in ("person", "fluent", "church")
        for eraser in ("ac", "esd")
    }
    by_probe = {model: page.partition("The same by object_probe")[2] for model, page in shown.items()}
    shown = {model: page.partition("The same by")[0] for model, page in shown.items()}
    assert not any(f"less {name}+ (" in page for page in shown.values() for name in ("AC", "ESD"))
    above = [model for model, page in by_probe.items() if f"less {model[1].upper()}+ (" in page]
    assert (
        above == [("person", "esd")]
        and "(weights)" in by_probe[above[0]]
        and "-20 points (-34 to -8)" in by_probe[above[0]]
    )
    digests = {
        c: [r["provenance"].get("eraser") for r in rows if r["concept"] == c] for c in ("person", "fluent", "church")
    }
    study = {
        r["provenance"].get("eraser")
        for r in json.loads((PROJECT / "docs/results.json").read_text())
        if "provenance" in r
    }
    told_same = {c: {d for d in found if d} <= study for c, found in digests.items()}
    assert told_same == {"person": False, "fluent": False, "church": True}  # "of churches the study's first"
    assert "with its interval: none; 0 of 10" in shown["fluent", "esd"]
    for model, threat, gap in (
        (("person", "ac"), "white-box text", "-20 points (-34 to -8)"),
        (("person", "ac"), "embedding", "-56 points (-69 to -42)"),
        (("fluent", "ac"), "white-box text", "-22 points (-37 to -6)"),
        (("fluent", "ac"), "black-box text", "-14 points (-27 to -3)"),
        (("fluent", "ac"), "embedding", "-30 points (-46 to -13)"),
        (("person", "esd"), "white-box text", "-16 points (-31 to -3)"),
        (("person", "esd"), "embedding", "-34 points (-49 to -18)"),
        (("church", "ac"), "embedding", "-76 points (-86 to -63)"),
        (("church", "esd"), "embedding", "-86 points (-93 to -73)"),
        (("church", "esd"), "weights", "+20 points (+1 to +38)"),
    ):
        assert f"| {threat}{'¹' * (threat in ('embedding', 'weights'))} | {gap} |" in shown[model]
    assert sum(page.count("P-AC less AC (") + page.count("P-ESD less ESD (") for page in shown.values()) == 9
    never = {r["attack"]: r["hits"] for r in rows if (r["concept"], r["eraser"]) == ("fluent", "never_saw")}
    assert [never[a] for a in attacks] == [4, never["p4d"], 23, 17, 49, 14, 21]
    said = "above all six under Ring-A-Bell** (23, by typing 20) and above most after ten steps of relearning (14), and"
    assert said in " ".join(told.split())
    erased = {
        a: [r["hits"] for r in rows if r["concept"] == "fluent" and r["attack"] == a and r["seed"]] for a in attacks
    }
    assert max(erased["ring_a_bell"]) < 23 and sum(h < 14 for h in erased["relearning_10"]) == 4
    assert min(erased["textual_inversion_long"]) > 17 and min(erased["relearning"]) > 21
    readme = " ".join((PROJECT / "README.md").read_text().split())
    assert "(AC's person 11 and 28, P-AC's 1 and none; ESD's 12 and 21, P-ESD's 4 (of 49) and 4; ESD's style" in readme
    assert "churches none and 42, P-AC's none and 4, ESD's none and 43, P-ESD's none and none)" in readme
    p4d = [r for r in rows if (r["concept"], r["attack"]) == ("church", "p4d") and r["eraser"] != "none"]
    assert {r["hits"] for r in p4d} == {0}
    assert "back in 41 (the probe: 46), AC's in 38 (48), AC+'s in 30 (41)" in readme


def test_what_the_pages_say_of_a_smaller_mask_is_what_its_rows_say() -> None:
    rows = json.loads((PROJECT / "docs/small_mask/results.json").read_text())
    findings, readme = (" ".join((PROJECT / page).read_text().split()) for page in ("docs/findings.md", "README.md"))

    def total(variant: str, attack: str, what: str = "hits", eraser: str = "ac") -> int:
        found = [r for r in rows if (r["eraser"], r["variant"], r["attack"]) == (eraser, variant, attack)]
        assert len(found) == (3 if eraser == "ac" else 1)
        return sum(sum(r[w] for w in what.split("+")) for r in found)

    asked = ("plain", "unlearndiffatk", "textual_inversion")
    by = {v: [total(v, a) for a in asked] for v in ("unpruned", "plus", "learned", "learned_alone")}
    kept = {v: total(v, "plain", "retain_near+retain_far") for v in by}
    assert {r["prune_rate"] for r in rows if r["variant"].startswith("learned")} == {0.045}
    assert (by["learned_alone"], by["unpruned"], by["plus"]) == ([0, 9, 1], [1, 57, 79], [0, 0, 0])
    assert "persons come back in 0, 9 and 1 of 150 prompts, AC's in 1, 57 and 79, AC+'s in none" in findings
    assert "0, 9 and 1 of 150 come back (AC 1, 57 and 79, AC+ none)" in readme
    assert (kept["learned_alone"], kept["unpruned"], kept["plus"], kept["learned"]) == (588, 585, 585, 575)
    assert "588 of 600 other things are drawn right" in findings and "by AC and AC+ 585 each" in findings
    assert "(588 of 600;" in readme and by["learned"] == [0, 1, 2]
    assert "comes back in 0, 1 (of 149) and 2, and keeps 575" in findings
    page = (PROJECT / "docs/small_mask/results.md").read_text()
    assert "| person, AC (mask alone) | 4.5 % | +0.0 points (-1.4 to +1.4;" in page
    assert "| person, AC | 4.5 % | -2.2 points (-4.6 to +0.3;" in page
    below = [
        line for line in page.splitlines() if line.startswith("| person, AC (mask alone) | ") and " by " not in line
    ]
    assert [("+32.0 points" in line, "+52.0 points" in line) for line in below[:2]] == [(True, False), (False, True)]
    any_image = [total(v, "unlearndiffatk", "any_hits") for v in ("learned_alone", "plus", "unpruned")]
    assert any_image == [16, 9, 104] and "back in 16 of 150 (AC+ 9, AC 104)" in findings
    typed = [total("unpruned", "unlearndiffatk", what) for what in ("typed_hits", "readable_hits")]
    assert typed == [29, 3] and "bring 57 of 150 back, and their text, typed, 29 (3 of the 57" in findings
    assert "it brings 29 of 150 back, the tokens 57" in readme
    floor = [total("unpruned", "unlearndiffatk", w, "never_saw") for w in ("hits", "typed_hits", "second_hits")]
    assert floor == [3, 5, 0] and "it is 3 and 5 of 50, by the probe none" in findings


@pytest.mark.parametrize("name", ["strongest", "small_mask", "decent_style"])
def test_an_experiments_page_says_what_it_is(name: str) -> None:
    described = yaml.safe_load((PROJECT / f"conf/{name}/parameters.yml").read_text())["study"]
    page = (PROJECT / f"docs/{name}/results.md").read_text()
    assert page.startswith(f"# {described['title']}\n\n{described['about']}\n\nMeasured on emoji64")
    usual = (PROJECT / "docs/results.md").read_text()
    assert usual.startswith("# Does pruning make an eraser robust?\n\nMeasured on emoji64")
