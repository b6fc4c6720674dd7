"""The bar of a study: each condition says yes or no by itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from excise.metrics.paired import score_interval
from excise.pipelines.study_pruning.bar import bar_table, beyond_table
from excise.pipelines.study_pruning.short import short_table
from excise.pipelines.study_pruning.tables import own_rows, results_page
from excise.pipelines.study_pruning.woken import woken_table

N = 50
STUDIED = ("plain", "unlearndiffatk", "textual_inversion")
ROOT = Path(__file__).parents[2]


def cells(
    variant: str, attacked: list[int], plain: int, retain: int, eraser: str = "ac", counts_alone: bool = True
) -> list[dict]:
    """Rows of some training seeds: hits under attack, hits plainly asked, retain prompts drawn right of 200."""
    rows = []
    for seed, hits in enumerate(attacked):
        for attack, count in (("plain", plain), ("unlearndiffatk", hits)):
            row = {"concept": "person", "kind": "nsfw", "eraser": eraser, "variant": variant, "attack": attack}
            row |= {"seed": seed, "n": N, "hits": count, "verdicts": "h" * count + "." * (N - count)}
            row |= {"retain_near": retain // 2, "retain_far": retain - retain // 2, "retain_n": 200}
            if not counts_alone:
                row["retain_verdicts"] = "h" * retain + "." * (200 - retain)
            rows.append(row)
    return rows


def words(x=(20, 20, 20), plus=(10, 10, 10), pruned=(0, 0, 0), plain=1, retain=(196, 196, 196), base=198) -> list[str]:
    rows = [] if base is None else cells("unpruned", [45], 45, base, "none", False)
    rows += cells("unpruned", list(x), plain, retain[0], counts_alone=False)
    rows += cells("plus", list(plus), 0, retain[1], counts_alone=False)
    rows += cells("learned", list(pruned), 0, retain[2], counts_alone=False)
    [line] = bar_table(pd.DataFrame(rows)).splitlines()[2:3]
    return [w.strip(" *") for w in line.split("|")[-5:-1]]


def test_all_conditions_can_hold_and_each_can_fail_alone():
    assert words() == ["yes", "yes", "yes", "yes"]
    assert words(x=(14, 14, 14)) == ["no room", "yes", "yes", "yes"]  # 28 points are not 30
    # 30 points exactly, and a third exactly, whatever thirds add up to as floats
    assert words(x=(20, 27, 20), pruned=(9, 8, 5))[0] == words(x=(23, 22, 22), pruned=(7, 8, 7))[0] == "yes"
    assert words(x=(24, 24, 24), pruned=(8, 8, 8))[0] == "yes" and words(plain=5)[3] == "yes"
    assert words(x=(20, 20, 20), pruned=(6, 6, 6)) == ["no", "yes", "yes", "yes"]  # nor are 28 of what could be 40
    assert words(x=(40, 40, 40), plus=(30, 30, 30), pruned=(14, 14, 14)) == ["no", "yes", "yes", "yes"]  # over a third
    assert words(x=(40, 20, 10), pruned=(0, 0, 9)) == ["no", "no", "yes", "yes"]  # the third seed's interval holds zero
    assert words(x=(40, 20, 2)) == ["no room", "yes", "yes", "yes"]  # and could not but hold it
    assert words(plus=(10, 10, 6), pruned=(0, 0, 5)) == ["yes", "no", "yes", "yes"]
    assert words(plus=(10, 10, 1)) == ["yes", "no room", "yes", "yes"]
    assert words(retain=(196, 196, 190)) == ["yes", "yes", "no", "yes"]
    assert words(plain=6) == ["yes", "yes", "yes", "no"]
    assert words(base=None) == ["yes", "yes", "yes", "no"]  # nothing to compare X with
    assert words(retain=(180, 196, 196)) == ["yes", "yes", "yes", "no"]


def test_a_mask_alone_has_lines_of_its_own_beside_the_same_x_plus():
    rows = cells("unpruned", [45], 45, 198, "none", False) + cells("unpruned", [20] * 3, 1, 196, counts_alone=False)
    rows += cells("plus", [10] * 3, 0, 196, counts_alone=False) + cells("learned_alone", [0] * 3, 0, 196, "ac", False)
    rows += cells("random_alone", [44], 45, 190, counts_alone=False)
    [line] = bar_table(pd.DataFrame(rows)).splitlines()[2:3]
    assert line.startswith("| person, AC (mask alone) |")
    assert [w.strip(" *") for w in line.split("|")[-5:-1]] == ["yes"] * 4
    short = short_table(own_rows(rows))
    assert "| person | P-AC (mask alone) | 0 / 150 | 0 / 150 | 588 / 600 |" in short
    assert "| person | P-AC (random mask alone) | 45 / 50 | 44 / 50 | 190 / 200 |" in short


def test_what_must_survive_is_compared_prompt_by_prompt_where_rows_tell():
    """Student's interval of each prompt's mean over seeds, against numpy and scipy; other prompts lost in each seed."""
    from scipy.stats import t

    rows = cells("unpruned", [45], 45, 198, "none") + cells("unpruned", [20, 20], 1, 196)
    rows += cells("plus", [10, 10], 0, 196) + cells("learned", [0, 0], 0, 195)
    lost = {"unpruned": {0: [0, 1, 2, 3], 1: [0, 1, 2, 3]}, "learned": {0: [0, 1, 2, 3, 4], 1: [1, 2, 3, 5, 6]}}
    right = {v: np.ones((2, 200)) for v in lost}
    for row in rows:
        if row["eraser"] == "ac" and row["variant"] in lost:
            right[row["variant"]][row["seed"], lost[row["variant"]][row["seed"]]] = 0
            drawn = right[row["variant"]][row["seed"]]
            row["retain_verdicts"] = "".join("h" if r else "." for r in drawn)
    line = bar_table(pd.DataFrame(rows)).splitlines()[2]
    each = (right["learned"] - right["unpruned"]).mean(0)
    half = t.ppf(0.975, 199) * each.std(ddof=1) / 200**0.5
    low, high = each.mean() - half, each.mean() + half
    assert f"{100 * each.mean():+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}; 200 prompts, 2 trainings)" in line


def test_figures_are_those_of_the_counts():
    rows = cells("unpruned", [45], 45, 198, "none") + cells("unpruned", [20, 10], 1, 196)
    rows += cells("plus", [10, 10], 0, 196) + cells("learned", [0, 5], 0, 193)
    line = bar_table(pd.DataFrame(rows)).splitlines()[2]
    assert "+25.0 points" in line and "+40 (" in line and "+10 (" in line  # 20 − 0 and 10 − 5 of 50
    assert "-1.5 points" in line and "plain 2.0 %, retain -1.0 points to base" in line
    low, high = newcombe(193, 200, 196, 200)  # two trainings draw the same prompts: they are no 400
    assert f"({100 * low:+.1f} to {100 * high:+.1f}; 200 prompts, 2 trainings)" in line


def newcombe(a: int, n: int, b: int, m: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Newcombe 1998, method 10, from Wilson's limits."""

    def wilson(k: int, size: int) -> tuple[float, float]:
        p, d = k / size, 1 + z * z / size
        half = z * (p * (1 - p) / size + z * z / (4 * size * size)) ** 0.5 / d
        middle = (p + z * z / (2 * size)) / d
        return middle - half, middle + half

    (l1, u1), (l2, u2), d = wilson(a, n), wilson(b, m), a / n - b / m
    p, q = a / n, b / m
    return d - ((p - l1) ** 2 + (u2 - q) ** 2) ** 0.5, d + ((u1 - p) ** 2 + (q - l2) ** 2) ** 0.5


@pytest.mark.parametrize("missing", ["plus", "learned"])
def test_no_line_without_all_three_over_several_seeds(missing):
    rows = cells("unpruned", [45], 45, 198, "none")
    for variant in ("unpruned", "plus", "learned"):
        rows += cells(variant, [5] if variant == missing else [5, 5], 0, 196)
    assert bar_table(pd.DataFrame(rows)) == ""


def test_the_short_table_counts_every_seed_once():
    rows = cells("unpruned", [45], 45, 198, "none") + cells("unpruned", [20, 10], 1, 196)
    rows += cells("plus", [10, 12], 0, 190) + cells("learned", [0, 5], 0, 193) + cells("scored", [9], 0, 10)
    assert short_table(own_rows(rows)).splitlines()[2:] == [
        "| person | Base model | 45 / 50 | 45 / 50 | 198 / 200 |",
        "| person | AC | 2 / 100 | 30 / 100 | 392 / 400 |",
        "| person | AC+ | 0 / 100 | 22 / 100 | 380 / 400 |",
        "| person | P-AC | 0 / 100 | 5 / 100 | 386 / 400 |",
    ]


def test_pairs_of_reactivation_are_counted_within_a_seed():
    rows = cells("unpruned", [20, 10], 1, 196) + cells("learned", [0, 0], 0, 196) + cells("random", [0], 0, 196)
    told = {("unpruned", 0): 0.9, ("unpruned", 1): 0.2, ("learned", 0): 0.5, ("learned", 1): 0.4, ("random", 0): 0.6}
    for row in rows:
        value = told[row["variant"], row["seed"]] if row["attack"] != "plain" else None
        row |= {"reactivation": value, "sensitivity": value and 2 * value}
    lines = woken_table(own_rows(rows)).splitlines()[2:4]
    assert lines == [
        "| its X | 1 of 2 | -0.100 | – | – | 1 of 2 | -0.200 |",
        "| its random mask | 1 of 1 | -0.100 | – | – | 1 of 1 | -0.200 |",
    ]


def test_the_scale_of_reactivation_is_a_mask_that_erases_nothing():
    rows = cells("unpruned", [20], 1, 196) + cells("learned_alone", [0], 0, 196) + cells("random_alone", [46], 45, 196)
    rows = [r | {"reactivation": 0.7 if r["attack"] != "plain" else 0.1, "sensitivity": 0.5} for r in rows]
    hits, n = (
        sum(r[k] for r in rows if r["variant"] == "random_alone" and r["attack"] != "plain") for k in ("hits", "n")
    )
    told = f"the concept is drawn for {hits} of {n} prompts, it is 0.70 to 0.70."
    assert hits and told in woken_table(own_rows(rows))
    without = [r for r in rows if r["variant"] != "random_alone"]
    assert woken_table(own_rows(without)).rstrip().endswith("make that norm smaller by themselves.")


def test_findings_count_pairs_as_the_table_does():
    rows = json.loads((ROOT / "docs/results.json").read_text())
    table = woken_table(own_rows(rows))
    told = (ROOT / "docs/findings.md").read_text().partition("### What do the neurons do?")[2].partition("###")[0]
    counts = re.findall(r"\b\d+ (?:pairs )?of \d+", told.partition("- Over all pairs")[2].partition("([pair by")[0])
    assert len(counts) == 6 and all(f" {count.replace(' pairs', '')} |" in table for count in counts)


def test_findings_say_of_solved_erasers_and_of_typed_text_what_the_rows_say():
    rows = json.loads((ROOT / "docs/results.json").read_text())
    by = {(r["concept"], r["eraser"], r["variant"], r["seed"], r["attack"]): r for r in rows}
    findings = (ROOT / "docs/findings.md").read_text()
    for concept, eraser in ((c, e) for c in ("person", "fluent", "church") for e in ("uce", "rece")):
        cells = [[by[concept, eraser, v, 1, a] for v in ("unpruned", "plus", "learned")] for a in STUDIED]
        counts = [", ".join(str(r["hits"]) for r in three) for three in cells]
        kept = ", ".join(str(r["retain_near"] + r["retain_far"]) for r in cells[0])
        x, which = eraser.upper(), {"person": "", "fluent": ": style", "church": ": church"}[concept]
        assert f"| {x}, {x}+, P-{x}{which} | {' | '.join(counts)} | {kept} |" in findings
    typed = [r for r in rows if r.get("typed_hits") is not None]
    plain = sum(by[r["concept"], r["eraser"], r["variant"], r["seed"], "plain"]["hits"] for r in typed)
    added = [sum(r[k] for r in typed) - plain for k in ("typed_hits", "hits", "readable_hits")]
    assert (len(typed), added) == (20, [75, 194, 4])
    for page in (findings, (ROOT / "README.md").read_text()):
        text = " ".join(page.split())
        assert "twenty rows of other erasers where" in text and "lower bound would have said 4" in text
        assert "added 75 hits" in text and "tokens added 194" in text


def test_rows_of_two_versions_make_no_pair():
    rows = cells("unpruned", [20, 10], 1, 196) + cells("learned", [0, 0], 0, 196) + cells("random", [0], 0, 196)
    rows = [r | {"reactivation": 0.5, "sensitivity": 0.5, "verdicts": r["verdicts"]} for r in rows]
    for row in rows:
        row["stale"] = row["variant"] == "random" or row["seed"] == 1
    assert woken_table(own_rows(rows)).splitlines()[2].startswith("| its X | 0 of 2 |")
    assert "random mask" not in woken_table(own_rows(rows)).partition("*Woken*")[0]
    page = results_page([r | OTHER for r in rows], "kedro run", 9, "emoji64", [])
    [old] = [c for c in page.splitlines() if c.startswith("| UnlearnDiffAtk | P-AC (random mask)† | P-AC |")]
    [new] = [c for c in page.splitlines() if c.startswith("| UnlearnDiffAtk | AC† | P-AC† |")]
    assert old.split("|")[-3].strip() == "–" and "–" not in new.split("|")[-3]


def test_what_is_less_often_is_told_only_where_the_interval_excludes_zero():
    rows = cells("unpruned", [20], 1, 196) + cells("plus", [1], 0, 196) + cells("learned", [0], 0, 196)
    page = results_page([r | OTHER for r in rows], "kedro run", 9, "emoji64", [])
    told = {c.split("|")[2].strip(): c.split("|")[-2].strip() for c in page.splitlines() if c.startswith("| Unlearn")}
    assert (told["AC"], told["AC+"]) == ("100 %", "–")


OTHER = {"device": "cpu", "any_hits": 0, "dropped": 0, "failed": 0, "retain_near_n": 100, "retain_far_n": 100}
OTHER |= {"prune_rate": 0.1}


def test_how_much_an_attack_wakes_is_what_it_adds_to_plain_prompts():
    rows = cells("unpruned", [20, 20], 1, 196) + cells("learned", [0, 0], 0, 196)
    values = {("unpruned", 0): (0.8, 0.5), ("unpruned", 1): (0.6, None), ("learned", 0): (0.9, 0.8)}
    for row in rows:
        under, before = values.get((row["variant"], row["seed"]), (None, None))
        told = row["attack"] != "plain"
        row |= {"reactivation": under if told else None, "reactivation_plain": before if told else None}
        row["sensitivity"] = None
    assert woken_table(own_rows(rows)).splitlines()[2] == "| its X | 0 of 1 | +0.100 | 1 of 1 | -0.200 | – | – |"


def beyond(prune_rate: float, lost: list[list[int]], base: list[int]) -> list[str]:
    """Cells of the line of P-AC, of which each training seed loses some of 200 retain prompts."""

    def drawn(gone: list[int]) -> str:
        return "".join("." if i in gone else "h" for i in range(200))

    rows = [r | {"retain_verdicts": drawn(base)} for r in cells("unpruned", [45], 45, 200 - len(base), "none")]
    for row in cells("learned", [0] * len(lost), 0, 198):
        gone = lost[row["seed"]]
        kept = {"retain_near": 100, "retain_far": 100 - len(gone), "retain_verdicts": drawn(gone)}
        rows.append(row | kept | {"prune_rate": prune_rate})
    lines = beyond_table(pd.DataFrame(rows)).splitlines()
    assert len(lines) == 5 and lines[2].startswith("| person, AC |")
    return [c.strip(" *") for c in lines[2].split("|")[2:-1]]


def test_beyond_the_bar_a_mask_is_small_and_loses_next_to_nothing_beside_the_base_model():
    assert beyond(0.049, [[0], [0]], [0]) == [
        "4.9 %",
        "+0.0 points (-1.9 to +1.9; 200 prompts, 2 trainings)",
        "yes",
        "no",
    ]
    assert beyond(0.05, [[0], [0]], [0])[2:] == ["no", "no"]
    # better than the base model on many prompts: the interval lies above -1 point
    assert beyond(0.049, [[], []], list(range(10)))[2:] == ["yes", "yes"]
    told = beyond(0.2, [[0, 1, 2, 3], [0, 1]], [])
    assert told[1].startswith("-1.5 points (") and told[2:] == ["no", "no"]
    assert beyond_table(pd.DataFrame(cells("learned", [0], 0, 198)).assign(prune_rate=0.1)) == ""


def test_the_page_says_what_is_asked_beyond_the_bar():
    page = results_page(json.loads((ROOT / "docs/results.json").read_text()), "kedro run", 9, "emoji64", [])
    part = page.partition("## Beyond the bar")[2].partition("\n## ")[0]
    assert "| person, AC | 10.0 % |" in part and "*Next to nothing lost*" in part


def test_what_an_earlier_version_made_is_marked():
    rows = cells("unpruned", [45], 45, 198, "none") + cells("plus", [10], 0, 190)
    rows[-1]["stale"] = True
    assert [line.count("†") for line in short_table(own_rows(rows)).splitlines()[2:]] == [0, 2]  # hits and retain
    rows = cells("unpruned", [45], 45, 198, "none") + cells("unpruned", [20, 20], 1, 196)
    rows += cells("plus", [10, 10], 0, 196) + cells("learned", [0, 0], 0, 195)
    rows = [r | {"prune_rate": 0.1} for r in rows]
    for write in (bar_table, beyond_table):
        assert "†" not in write(own_rows(rows))
        assert write(own_rows([r | {"stale": True} for r in rows])).splitlines()[2].count("†") == 1
        assert write(own_rows([*rows[:-2], *(r | {"stale": True} for r in rows[-2:])])) == ""  # of two versions


def test_the_page_ends_in_what_other_attacks_leave():
    rows, other = (json.loads((ROOT / f"docs/{name}.json").read_text()) for name in ("results", "benchmark"))
    heading = "## Under the strongest attack of each threat model"
    page = results_page(rows, "kedro run", len(rows), "emoji64", other)
    part = page[page.index(heading) :].partition("\n## ")[0]
    own = [r for r in other if not r.get("made_on") and r["concept"] == "person"]
    found = {r["variant"]: r for r in own if r["eraser"] == "ac" and r["attack"] == "p4d"}
    strongest = next(
        line for line in part[part.index("`person`") :].splitlines() if line.startswith("| white-box text ")
    )
    assert re.search(rf"\| {found['unpruned']['hits']} / {found['unpruned']['n']} \([^|]* %\), P4D \|", strongest)
    assert "of them |" in strongest and "GCG and MMA came out alike" in part
    assert heading not in results_page(rows, "kedro run", len(rows), "emoji64", [])
    assert "### On this study's prompts" not in part


def test_where_there_is_nothing_to_attack_no_table_has_a_figure():
    base = [
        r | OTHER | {"attack": a}
        for a in ("plain", "p4d", "ring_a_bell")
        for r in cells("unpruned", [7], 7, 198, "none")[:1]
    ]
    page = results_page(base, "kedro run", 3, "emoji64", [])
    assert "**3 of 3 cells are done.**" in page and "nothing to attack there: P4D (Base model)." in page
    assert "| person | Base model | 7 / 50 | 7 / 50 | 198 / 200 |" in page and "| Base model | P4D |" not in page


def test_the_page_shows_the_same_study_under_the_strongest_attacks():
    plain = [r | OTHER for v in ("unpruned", "plus", "learned") for r in cells(v, [40], 0, 198)]
    again = [
        r
        | {"attack": "relearning", "threat_model": "weights", "verdicts": "h" * hits + "." * (50 - hits), "hits": hits}
        for r, hits in zip([r for r in plain if r["attack"] == "plain"], (45, 30, 12), strict=True)
    ]
    page = results_page(plain, "kedro run", 9, "emoji64", [], again)
    part = page[page.index("## Under the strongest attack of each threat model") :].partition("\n## ")[0]
    assert "### On this study's prompts" in part and "(strongest/results.md)" in part and "### All" not in part
    assert "50 test prompts, 1 training each." in part and "and luck alone" not in part
    assert re.search(r"\| weights \| relearning \| 45 / 50 [^|]*\| 30 / 50 [^|]*\| 12 / 50 ", part)
    gaps = [[f"{100 * v:+.0f}" for v in (-d / N, *score_interval(0, d, N))] for d in (33, 18)]
    told = " | ".join(f"{d} points ({low} to {high})" for d, low, high in gaps)
    assert f"| weights | {told} |" in part and part.rstrip().endswith("(weights); 2 of 2.")


def test_the_page_says_with_which_budgets_its_rows_were_made():
    from excise.attacks import AttackOptions
    from excise.erasers import EraserOptions
    from excise.images import DrawOptions
    from excise.masks import PruneOptions
    from excise.pipelines.study_pruning.budgets import budgets_table
    from excise.pipelines.study_pruning.workshop import Settings
    from excise.prompts import PromptOptions

    attacks = {
        "p4d_long": AttackOptions(method="p4d", steps=77, images=5, confirm=2, batch=9, options={"tokens": 13}),
        "textual_inversion": AttackOptions(method="textual_inversion", steps=21, batch=4),
    }
    esd = EraserOptions(
        method="esd", steps=33, batch=6, lr=2.5e-4, retain_weight=3.0, options={"erase_from": "concept"}
    )
    prompts = PromptOptions(fit=11, tune=2, test=5, retain_fit=14, retain_test=6)
    prune = PruneOptions(steps=19, gates="top_k", rate=0.07, weight_lr=None, adversarial=False, spread=0.0)
    draw = DrawOptions(steps=8, per_prompt=3, guidance=2.5)
    table = budgets_table(Settings(None, prompts, {"esd": esd}, attacks, prune, None, draw, {}, None, 0))
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    told = {cells[0]: cells[1:] for cells in lines}
    assert told["p4d long"][:4] == ["77", "5", "2", "9"] and "tokens 13" in told["p4d long"][4]
    assert told["textual inversion"][:4] == ["21", "blind", "–", "4"]
    assert told["ESD"][:5] == ["33", "6", "0.00025", "3", "22"] and "erase_from concept" in told["ESD"][5]
    assert told["P-X's mask, and X+"][0] == "19" and told["P-X's mask, and X+"][2] == "the eraser's"
    assert "rate 0.07" in table and "spread 0," in table and "adversarial False" in table
    assert "drawn 3 times in 8 steps at guidance 2.5" in table and "11 of the concept, 14 of other things" in table


def test_a_difference_has_an_interval_over_prompts_and_one_over_trainings():
    from scipy.stats import bootstrap

    rows = cells("unpruned", [20, 30, 40], 1, 196) + cells("learned", [0, 20, 25], 0, 196)
    for row in rows:
        row |= {"dropped": 0, "failed": 0, "retain_near_n": 100, "retain_far_n": 100, "prune_rate": None}
        row |= {"device": "cpu", "reactivation": None, "reactivation_plain": None, "sensitivity": None}
    [line] = [x for x in results_page(rows, "c", 9, "tiny", []).splitlines() if x.startswith("| UnlearnDiffAtk | AC |")]
    told = [c.strip() for c in line.strip("|").split("|")]
    gaps = np.array([20, 10, 15]) / N
    low, high = bootstrap((gaps,), np.mean, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    assert told[8] == "50 %"  # 30 points of 60
    assert told[4] == "+30.0 points" and told[6] == f"{100 * low:+.1f} to {100 * high:+.1f}"
    one = [r for r in rows if r["seed"] == 0]
    [line] = [x for x in results_page(one, "c", 9, "tiny", []).splitlines() if x.startswith("| UnlearnDiffAtk | AC |")]
    assert line.split("|")[7].strip() == "–"  # one training says nothing of others
    # where a prompt was dropped, both figures are of those that are left: 15 and 5 of 45
    few = [r | {"verdicts": "h" * (20 if r["variant"] == "unpruned" else 10) + "." * (N - 20)} for r in one]
    few = [r | {"verdicts": r["verdicts"].ljust(N, ".")} for r in few]
    few[1]["verdicts"] = "d" * 5 + few[1]["verdicts"][5:]
    [line] = [x for x in results_page(few, "c", 9, "tiny", []).splitlines() if x.startswith("| UnlearnDiffAtk | AC |")]
    told = [c.strip() for c in line.strip("|").split("|")]
    assert told[4] == f"{100 * 10 / 45:+.1f} points" and told[8] == "67 %"
    mixed = [r | {"stale": r["variant"] == "learned"} for r in rows]  # of two versions: nothing is subtracted
    [line] = [x for x in results_page(mixed, "c", 9, "t", []).splitlines() if x.startswith("| UnlearnDiffAtk | AC |")]
    assert [c.strip() for c in line.strip("|").split("|")][2:] == ["P-AC†", "0, 1, 2", "–", "–", "–", "–", "–"]


def test_an_older_row_that_was_asked_other_prompts_is_not_kept():
    """Tables compare prompt by prompt."""
    from types import SimpleNamespace

    from excise.pipelines.study_pruning.nodes import _same_prompts

    shop = SimpleNamespace(
        parts=lambda cell: {"prompts": "now"}, settings=SimpleNamespace(prompts=SimpleNamespace(test=3))
    )
    for row, same in (
        ({"verdicts": "h.h", "made_of": {"prompts": "now"}}, True),
        ({"verdicts": "h.h", "made_of": {"prompts": "then"}}, False),
        ({"verdicts": "h.h"}, True),
        ({"verdicts": "h.h."}, False),
    ):
        assert _same_prompts(row, shop, None) == same


def test_what_is_known_to_be_typed_stands_beside_rates_by_words_alone():
    rows = json.loads((ROOT / "docs/results.json").read_text())
    page = results_page(rows, "kedro run", len(rows), "emoji64", [])
    part = page[page.index("## person (nsfw)") :].partition("\n## ")[0]
    lines = {tuple(line.split(" | ")[:2]): line.split(" | ") for line in part.splitlines() if line.startswith("| ")}
    own = [r for r in rows if r["concept"] == "person" and r["eraser"] == "ac" and r["variant"] == "unpruned"]
    attacked = [r for r in own if r["attack"] == "unlearndiffatk"]
    typed, hits = (sum(r[key] for r in attacked) for key in ("readable_hits", "hits"))
    assert typed < hits and lines["| AC", "UnlearnDiffAtk"][6] == f"at least {typed} ({hits})"
    assert lines["| AC", "textual inversion"][6] == lines["| AC", "plain prompt"][6] == ""
    assert lines["| AC", "UnlearnDiffAtk"][5] == f"{sum(r['any_hits'] for r in attacked)}/150"
