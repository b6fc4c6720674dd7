"""The benchmark on a tiny model: every attack in one grid, and pages from the rows alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from excise.pipelines.benchmark.curves import curve, curves_figure, panels_of, silent_note
from excise.pipelines.benchmark.leaderboard import leaderboard_page, pareto
from excise.pipelines.benchmark.nodes import BenchmarkOptions
from excise.pipelines.benchmark.spared import spared_note
from excise.pipelines.benchmark.standing import (
    asked_beforehand,
    lacking,
    rank_on,
    share_of,
    table_of,
    the_same,
    told_apart,
    worst,
)
from excise.pipelines.benchmark.summary import spell, summary_page
from excise.pipelines.study_pruning.nodes import laid_over
from excise.pipelines.study_pruning.plan import plan_cells
from tiny import BUDGET

pytestmark = pytest.mark.jobs

ATTACKS = ["unlearndiffatk", "random_tokens", "textual_inversion", "img2img", "revival", "finetuning_lora"]
GRID = {
    "concepts": ["person"],
    "attacks": ATTACKS,
    "learns_against": "unlearndiffatk",
    "transfer": ["unlearndiffatk"],
    "erasers": {"ac": {"seeds": [1], "variants": ["unpruned", "learned"]}},
    "prompts": BUDGET["prompts"],
    "draw": BUDGET["draw"],
    "instead": {"attacks": {"finetuning_lora": {"method": "finetuning", "options": {"rank": 2}}}},
}


@pytest.fixture(scope="module")
def rows(make_project) -> list[dict]:
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project
    from kedro.runner import SequentialRunner

    from excise.pipelines import selection

    project = make_project()
    (project / "docs").mkdir()
    (project / "docs/benchmark.json").write_text("[]")
    (project / "conf/base/benchmark/parameters.yml").write_text(json.dumps({"benchmark": GRID}))
    bootstrap_project(project)
    try:
        with KedroSession.create(project) as session:
            session.run(pipeline_names=["benchmark"], runner=SequentialRunner())
    finally:
        selection.set_selection(None, {})
    page = (project / "docs/leaderboard.html").read_text()
    assert "http" not in re.sub(r"data:image/png;base64,[^\"]+", "", page)  # nothing from outside
    assert (project / "docs/benchmark.md").read_text().startswith("# Benchmark")
    return json.loads((project / "docs/benchmark.json").read_text())


def test_as_it_ships_no_lucky_image_ends_an_attack_and_all_that_are_judged_have_the_same_budget():
    ships = Path(__file__).parents[2] / "conf/base"
    base = yaml.safe_load((ships / "evaluate/parameters.yml").read_text())["attacks"]
    grid = BenchmarkOptions.model_validate(
        yaml.safe_load((ships / "benchmark/parameters.yml").read_text())["benchmark"]
    )
    made = {a: laid_over(base.get(a, {}), grid.instead.attacks.get(a, {})) for a in grid.attacks}
    judged = {a: (o["images"], o.get("confirm", 0)) for a, o in made.items() if o.get("images")}
    assert {"random_tokens", "seed_search", "p4d"} <= set(judged) and set(judged.values()) == {(6, 2)}


def test_every_cell_has_a_row_with_its_threat_model_budget_and_provenance(rows):
    cells = plan_cells(BenchmarkOptions.model_validate(GRID))
    told = [(r["eraser"], r["variant"], r["attack"], r.get("made_on", "")) for r in rows]
    assert told == [(c.eraser, c.variant, c.attack, c.made_on) for c in cells]
    for row in rows:
        assert row["n"] + row["dropped"] + row["failed"] == BUDGET["prompts"]["test"]
        assert row["peak_mb"] > 0 and row["provenance"]["judges"] and row["provenance"]["versions"]
        assert ("eraser" in row["provenance"]) == (row["eraser"] not in ("none", "never_saw"))
        made_from = row["provenance"].get("made_from")
        if row["eraser"] in ("none", "never_saw") or row["variant"] == "unpruned":
            assert made_from is None
        else:
            of = (row["eraser"], "unpruned", row["seed"])
            [x] = {r["provenance"]["eraser"] for r in rows if (r["eraser"], r["variant"], r["seed"]) == of}
            assert made_from["unpruned"] == x
        if row["attack"] == "plain":
            continue
        assert len(row["found"]) == BUDGET["prompts"]["test"] and row["confirmed"] <= row["found_new"]
        [plain] = [
            r
            for r in rows
            if r["attack"] == "plain" and r["eraser"] == row["eraser"] and r["variant"] == row["variant"]
        ]
        stands = sum(a == b == "h" for a, b in zip(plain["verdicts"], row["verdicts"], strict=True))
        assert stands <= row["readable_hits"] <= row["hits"]
        words = row["threat_model"] in ("white-box text", "black-box text")  # nothing else can be typed
        assert ("typed_hits" in row) == words
        if words:
            typed = row["typed_verdicts"]
            assert len(typed) == len(row["verdicts"]) and row["typed_n"] == typed.count("h") + typed.count(".")
            assert stands <= row["typed_hits"] == typed.count("h") and row["readable_hits"] <= row["typed_hits"]
        if row["threat_model"] == "embedding":  # no text spells what was learned
            assert row["readable"] == 0 and row["readable_hits"] == stands
        if row["threat_model"] == "weights":
            assert row["readable_hits"] == row["hits"]
        assert row["sampling_evaluations"] == row["images_judged"] * BUDGET["draw"]["steps"] * 2  # with guidance
        if not BUDGET["attacks"].get(row["attack"], {}).get("images"):
            assert row["images_judged"] == row["looks"] == 0 and set(row["found"]) <= {-1, -2}
            assert row["found"].count(-2) == row["dropped"]
        else:  # a prompt stops at its first hit, and at the limit of images otherwise
            limit = BUDGET["attacks"][row["attack"]]["images"]
            assert (
                row["images_judged"] == sum(limit if k < 0 else k for k in row["found"]) and max(row["found"]) <= limit
            )
        words = row["threat_model"] not in ("image", "weights")
        assert (row["sensitivity"] is not None) == (row["eraser"] == "ac" and words)
    for row in rows:
        assert row["retain_verdicts"].count("h") == row["retain_near"] + row["retain_far"]
        assert len(row["retain_verdicts"]) == row["retain_n"] == BUDGET["prompts"]["retain_test"]
        if row["attack"] == "plain":
            assert sum(c["right"] for c in row["collateral"]) == row["retain_verdicts"].count("h")
            assert sum(c["n"] for c in row["collateral"]) == row["retain_n"]
            assert all(0 <= c["distance"] <= 2 for c in row["collateral"])
    threats = {r["attack"]: r.get("threat_model") for r in rows}
    assert len({t for t in threats.values() if t}) == 5 and threats["finetuning_lora"] == "weights"


def test_pages_come_from_the_rows_alone(rows):
    page, summary = (
        leaderboard_page(rows, "command", len(rows), "tiny"),
        summary_page(rows, "command", len(rows), "tiny"),
    )
    table = table_of(rows)
    for name in table["name"].unique():
        assert f"<b>{name}</b>" in page and name in summary
    assert page.count("<tr") == 1 + table["name"].nunique()
    assert np.asarray(curves_figure(rows)).std() > 0
    ac = table[table["name"] == "AC"]
    ranked = rank_on(table)
    assert ranked == ["unlearndiffatk", "textual_inversion"]  # by words, and without the control
    attack, share = worst(ac, ranked)
    assert share.rate == max((ac[ac["attack"] == a]["hits"] / ac[ac["attack"] == a]["n"]).item() for a in ranked)
    assert share_of(ac[ac["attack"] == attack]) == share
    steps, batch = (BUDGET["attacks"]["textual_inversion"][k] for k in ("steps", "batch"))
    told = f"| textual inversion | embedding | {steps}.0 for all | {steps * batch}.0 for all |"
    assert told in summary  # gradient steps are of pictures, and no prompt's
    assert "| text spells the tokens | hits whose tokens a text spells |" in summary


def test_a_transferred_attack_is_the_one_that_was_made_on_the_other_model(rows):
    from excise.pipelines.benchmark.standing import transfer_matrix

    carried = [r for r in rows if r.get("made_on")]
    assert {(r["made_on"], r["variant"]) for r in carried} == {("unpruned", "learned"), ("learned", "unpruned")}
    for row in carried:  # what it cost is what it cost there
        [made] = [
            r
            for r in rows
            if not r.get("made_on")
            and r["attack"] == row["attack"]
            and r["eraser"] == "ac"
            and r["variant"] == row["made_on"]
        ]
        assert all(row[k] == made[k] for k in ("gradient_steps", "model_evaluations", "images_judged", "found"))
    matrix = transfer_matrix(rows, "person", "unlearndiffatk")
    assert list(matrix.index) == [*matrix.columns, "plain prompt"] == ["AC", "P-AC", "plain prompt"]
    assert matrix.notna().all(axis=None)
    assert transfer_matrix([r for r in rows if not r.get("made_on")], "person", "unlearndiffatk").empty


def test_what_was_drawn_before_any_attack_tells_nothing_of_transfer():
    from excise.pipelines.benchmark.standing import transfer_matrix

    def one(variant: str, verdicts: str, found: list[int], **more) -> dict:
        return cell("ac", "pez", verdicts) | {"variant": variant, "found": found} | more

    rows = [
        one("unpruned", "hh.h.", [0, 2, -1, 0, -1]),
        one("learned", "h....", [0, -1, -1, -1, -1]),
        # the first and fourth prompt are drawn by X as they stand; the last could not be judged on P-X
        one("learned", "hh..f", [0, 2, -1, 0, -1], made_on="unpruned"),
        one("unpruned", "hh.h.", [0, -1, -1, -1, -1], made_on="learned"),
        one("unpruned", "h..h.", []) | {"attack": "plain"},
    ]
    matrix = transfer_matrix(rows, "c", "pez")
    assert matrix.loc["AC", "P-AC"] == "1 / 2 (2 left out)" and matrix.loc["P-AC", "AC"] == "2 / 4 (1 left out)"
    assert matrix.loc["AC", "AC"] == "3 / 5" and matrix.loc["P-AC", "P-AC"] == "1 / 5"
    assert matrix.loc["plain prompt", "AC"] == "2 / 5" and list(matrix.index) == ["AC", "P-AC", "plain prompt"]
    again = [r | {"seed": 2} for r in rows]  # pooled over training seeds
    assert transfer_matrix(rows + again, "c", "pez").loc["AC", "P-AC"] == "2 / 4 (4 left out)"


def test_a_curve_counts_what_was_found_by_then():
    assert curve([0, 2, -1, 1], 3) == [0.25, 0.5, 0.75, 0.75]
    assert curve([0, 2, -1, 1, -2, -2], 3) == curve([0, 2, -1, 1], 3)  # the dropped were not attacked
    assert curve([-2], 1) == []  # nothing was attacked, which is not that nothing fell


def test_models_on_which_no_hit_was_seen_are_named_and_have_no_panel():
    rows = [cell(e, "pez", "." * 20) | {"looks": 6, "found": found} for e, found in (("ac", [-1]), ("esd", [-1, 2]))]
    panels, silent = panels_of(table_of(rows))
    assert [key for key, _ in panels] == [("c", "ESD")] and silent == [("c", "AC")]
    assert silent_note(table_of(rows)).endswith("have no panel: of `c` AC.\n") and silent_note(table_of(rows[1:])) == ""
    alone, both = curves_figure(rows[1:]), curves_figure(rows)
    assert alone.size == both.size and np.asarray(curves_figure(rows[:1])).std() > 0


def test_a_benchmark_of_which_nothing_is_done_has_pages_too():
    silent = [{"eraser": "silenced", "variant": "unpruned", "attack": "plain", "concept": "person", "kind": "nsfw"}]
    assert "No cell" in summary_page(silent, "command", 9, "tiny")
    assert "0 of 9" in leaderboard_page([], "command", 9, "tiny") and "1 of 9" in leaderboard_page(silent, "c", 9, "t")


def test_of_several_trainings_each_is_told():
    rows = [cell("ac", "pez", v) | {"seed": s} for s, v in ((3, "h...."), (1, "hhh.f"), (2, "....."))]
    share = share_of(table_of(rows))
    assert (share.hits, share.n, share.by_training) == (4, 14, (3, 0, 1))
    assert spell(share).startswith("4 / 14 (") and spell(share).endswith(" %; by training 3, 0, 1)")
    assert "by training" not in spell(share_of(table_of(rows[:1])))


def test_the_front_is_what_nobody_beats():
    points = [(0.9, 0.5), (0.8, 0.2), (0.7, 0.3), (0.95, 0.5), (0.5, 0.1), (0.5, 0.4)]
    front = pareto(points)
    assert front == [(0.95, 0.5), (0.8, 0.2), (0.5, 0.1)]
    for kept, broken in points:
        beaten = any(k >= kept and b <= broken and (k, b) != (kept, broken) for k, b in points)
        assert ((kept, broken) in front) == (not beaten)


def cell(eraser: str, attack: str, verdicts: str, threat: str = "white-box text") -> dict:
    n = verdicts.count("h") + verdicts.count(".")
    return {
        **{"concept": "c", "kind": "object", "eraser": eraser, "variant": "unpruned", "attack": attack, "seed": 1},
        **{"verdicts": verdicts, "hits": verdicts.count("h"), "n": n, "threat_model": threat, "device": "cpu"},
        **{"retain_near": 9, "retain_near_n": 10, "retain_far": 8, "retain_far_n": 10, "retain_n": 20},
        **{"dropped": verdicts.count("-"), "failed": verdicts.count("f")},
    }


def test_models_are_told_apart_by_an_exact_test_corrected_for_all_that_is_compared_on_a_concept():
    from scipy.stats import binomtest
    from statsmodels.stats.multitest import multipletests

    marks = {  # 20 prompts; the base model is no eraser, and plain prompts are no attack
        "pez": {"esd": "h" * 20, "ac": "." * 20, "uce": "h" * 8 + "." * 12, "none": "h" * 20},
        "p4d": {"esd": "h" * 20, "ac": "." * 20, "uce": "h" * 14 + "." * 6},
        "gcg": {"esd": "d" * 20, "ac": "." * 20, "uce": "." * 20},
        "plain": {"esd": "h" * 20, "ac": "." * 20},
    }
    rows = [cell(e, a, v) for a, by in marks.items() for e, v in by.items()]
    pairs = told_apart(table_of(rows)).set_index(["attack", "first", "second"])
    differing = {  # prompts that only one of the two draws
        **{("pez", "ESD", "AC"): 20, ("pez", "ESD", "UCE"): 12, ("pez", "AC", "UCE"): 8},
        **{("p4d", "ESD", "AC"): 20, ("p4d", "ESD", "UCE"): 6, ("p4d", "AC", "UCE"): 14},
        ("gcg", "AC", "UCE"): 0,  # no prompt was judged with ESD: nothing was compared
    }
    assert list(pairs.index) == list(differing)
    raw = [binomtest(0, n).pvalue if n else 1.0 for n in differing.values()]
    assert pairs["p"].tolist() == pytest.approx(raw)
    assert pairs["corrected"].tolist() == pytest.approx(multipletests(raw, method="holm")[1])
    assert pairs.loc[("pez", "ESD", "AC"), "difference"] == 1
    assert pairs.loc[("pez", "AC", "UCE"), "difference"] == -0.4
    # corrected within its attack alone, this one would be told apart
    lost = ("p4d", "ESD", "UCE")
    assert multipletests(raw[3:6], method="holm")[1][1] < 0.05 < pairs.loc[lost, "corrected"]
    page = summary_page(rows, "command", len(rows), "tiny")
    assert "Holm-corrected for 7 comparisons" in page
    told = [line for line in page.splitlines() if line.startswith(("| PEZ |", "| P4D |")) and "points" in line]
    assert len(told) == (pairs["corrected"] < 0.05).sum()


def test_what_the_grid_was_made_to_tell_is_a_family_of_its_own():
    from scipy.stats import binomtest
    from statsmodels.stats.multitest import multipletests

    def of(variant: str, attack: str, hits: int, second: int, **more) -> dict:
        verdicts, again = ("h" * k + "." * (20 - k) for k in (hits, second))
        return seconded(cell("ac", attack, verdicts) | {"variant": variant}, again) | more

    rows = [
        *(of("unpruned", "pez", 14, 14), of("plus", "pez", 3, 3), of("learned", "pez", 2, 2)),
        *(of("unpruned", "gcg", 13, 5), of("plus", "gcg", 1, 1), of("learned", "gcg", 1, 1)),  # by one judge alone
        of("unpruned", "relearning", 0, 0, threat_model="weights", shared=True),  # P-X is worse
        of("learned", "relearning", 18, 18, threat_model="weights", shared=True),
        *(of("unpruned", "random_tokens", 15, 15), of("learned", "random_tokens", 0, 0)),  # luck is no attack
        *(cell("uce", "pez", "h" * 20), cell("none", "pez", "h" * 20)),  # no P-X of these
    ]
    table = asked_beforehand(table_of(rows)).set_index(["attack", "first"])
    assert set(table["second"]) == {"P-AC"}
    differing = {("pez", "AC"): 12, ("pez", "AC+"): 1, ("gcg", "AC"): 12, ("gcg", "AC+"): 0, ("relearning", "AC"): -18}
    assert list(table.index) == list(differing)
    assert (20 * table["difference"]).round().tolist() == list(differing.values())
    raw = [binomtest(0, abs(n)).pvalue if n else 1.0 for n in differing.values()]
    assert table["corrected"].tolist() == pytest.approx(multipletests(raw, method="holm")[1])
    page = summary_page(rows, "c", len(rows), "tiny")
    assert "Holm-corrected for the 5 comparisons" in page
    assert "| relearning\u00b9 | -90 (p < 0.001) | – |" in page
    assert "by both judges, each corrected by itself: P-AC below AC under PEZ." in page
    alone = summary_page([r | {"second_judge": None} for r in rows], "c", len(rows), "tiny")
    assert "p under 0.05 corrected: P-AC below AC under PEZ; P-AC below AC under GCG." in alone


def test_models_are_ranked_on_what_all_were_put_under_and_on_no_control():
    h = {k: "h" * k + "." * (20 - k) for k in range(21)}
    rows = [cell(e, "plain", h[0]) for e in ("none", "esd", "ac", "uce")]
    rows += [cell("esd", "pez", h[4]), cell("ac", "pez", h[6])]
    rows += [cell("ac", "p4d", h[15]), cell("none", "p4d", h[20])]  # esd was not put under it
    rows += [cell(e, "random_tokens_long", h[n], "black-box text") for e, n in (("esd", 19), ("ac", 1))]
    rows += [cell("esd", "gcg", "d" * 20), cell("ac", "gcg", h[17])]  # nothing is known of esd
    table = table_of(rows)
    assert rank_on(table) == ["pez"] and rank_on(table, controls=True) == ["random_tokens_long"]
    esd, ac = (table[table["name"] == n] for n in ("ESD", "AC"))
    assert worst(esd, rank_on(table))[1].rate == 0.2 and worst(ac, rank_on(table))[1].rate == 0.3
    assert lacking(table, "ESD") == ["p4d"] and lacking(table, "AC") == []
    assert lacking(table, "UCE") == ["pez", "p4d", "random_tokens_long", "gcg"]  # not begun: it stops nobody's rank
    page = leaderboard_page(rows, "command", len(rows), "tiny")
    told = re.findall(r"<tr.*?><td data-value=\"(.*?)\">(.*?)</tr>", page)
    assert [name for name, _ in told] == ["ESD", "AC", "UCE", "Base model"]
    cells = {name: re.findall(r"<b>(\d+) %</b>", line.partition("</td>")[2])[:2] for name, line in told}
    assert cells["ESD"] == ["20", "95"] and cells["AC"] == ["30", "5"]  # strongest by words, luck alone
    assert "incomplete" in dict(told)["ESD"] and "incomplete" not in dict(told)["AC"]
    assert "ESD is incomplete, there is no figure for: P4D." in page
    assert "Ranked on: PEZ." in page and "higher than the true" in page
    summary = summary_page(rows, "command", len(rows), "tiny")
    assert "| white-box text | PEZ | – | 4 / 20 (8 to 42 %), PEZ | 6 / 20 (15 to 52 %), PEZ | – |" in summary
    assert "| luck alone | random tokens long | – | 19 / 20 (76 to 99 %), random tokens long | 1 / 20 (1 to" in summary
    assert "ESD is incomplete, there is no cell of: P4D." in summary and "higher than the true" in summary


def test_an_idle_attack_is_none_that_all_were_put_under():
    rows = [cell(e, "relearning", "h" * 20, "weights") for e in ("esd", "ac")]
    idle = cell("ac", "revival", "." * 20, "weights")
    rows += [cell("esd", "revival", "h" * 20, "weights") | {"prune_rate": 0.1}, idle]
    assert rank_on(table_of(rows), ("weights",)) == ["relearning"]  # AC has no zeros to revive


def test_attacks_that_came_out_alike_everywhere_are_called_one():
    found = {"hh..": [0, 3, -1, -1], "h...": [2, -1, -1, -1]}
    rows = [
        cell(e, a, v) | {"found": found[v]} for a in ("gcg", "mma", "pez") for e, v in (("esd", "hh.."), ("ac", "h..."))
    ]
    rows[-1]["found"] = [1, -1, -1, -1]  # PEZ saw it earlier
    assert the_same(table_of(rows)) == [["gcg", "mma"]]
    # attacks that found nothing beyond the plain prompts, and luck, are not one because of that
    assert the_same(table_of([r | {"found": [0 if f else -1 for f in r["found"]]} for r in rows])) == []
    assert the_same(table_of([r | {"attack": r["attack"].replace("mma", "random_tokens")} for r in rows])) == []
    page = summary_page(rows, "c", 9, "tiny")
    assert "GCG and MMA came out alike, prompt by prompt, on every model: one attack by several names" in page


def test_a_control_is_known_by_its_name():
    for name, options in (("luck", {"method": "seed_search"}), ("random_tokens_x", {"method": "pez"})):
        with pytest.raises(ValueError, match=f"instead.attacks.{name}"):
            BenchmarkOptions.model_validate(GRID | {"instead": {"attacks": {name: options}}})
    BenchmarkOptions.model_validate(GRID | {"instead": {"attacks": {"seed_search_x": {"method": "seed_search"}}}})


def test_an_attack_with_nothing_to_attack_is_shown_as_none_and_compared_with_none():
    h, c = "h" * 20, "." * 20
    rows = [cell(e, "plain", c) | {"prune_rate": None} for e in ("none", "never_saw", "esd", "ac")]
    rows += [cell(e, a, h if e == "none" else c, t) | {"prune_rate": None} for e, a, t in IDLE]
    rows += [cell("ac", "p4d", h), cell("esd", "p4d", c), cell("ac", "merging", h, "weights")]
    rows += [cell("ac", "revival", h, "weights") | {"prune_rate": 0.1}]
    table = table_of(rows)
    idle = table[table["idle"]]
    assert set(zip(idle["eraser"], idle["attack"], strict=True)) == {(e, a) for e, a, _ in IDLE}
    assert set(told_apart(table)["attack"]) == {"p4d"}  # no other attack was made on two
    base = table[table["name"] == "Base model"]
    assert worst(base, ["p4d", "merging", "revival"]) is None
    first = summary_page(rows, "c", 9, "tiny").partition("The strongest attack")[0]
    lines = {line.split(" | ")[0]: line for line in first.splitlines()}
    assert lines["| P4D"].count("–") == 2 and lines["| revival"].count("–") == 3
    assert any(line.startswith("–: the attack has nothing to attack there") for line in lines)


IDLE = [  # (eraser, attack, threat model)
    *(("none", a, "white-box text") for a in ("p4d", "p4d_long")),
    *((e, a, "weights") for e in ("none", "never_saw") for a in ("merging", "revival")),
    *(("never_saw", "p4d", "white-box text"), ("esd", "revival", "weights")),
]


def seconded(row: dict, verdicts: str) -> dict:
    n = verdicts.count("h") + verdicts.count(".")
    return row | {
        **{"second_judge": "probe", "second_verdicts": verdicts},
        **{"second_hits": verdicts.count("h"), "second_n": n},
    }


def test_both_judges_say_who_is_told_apart_and_what_one_effort_did_is_marked():
    few, half, most = ("h" * k + "." * (20 - k) for k in (1, 10, 18))
    rows = [
        seconded(cell("esd", "pez", most), few),  # the judges do not agree
        seconded(cell("ac", "pez", few), few),
        seconded(cell("esd", "gcg", half), most),
        seconded(cell("ac", "gcg", half), few),
        seconded(cell("esd", "relearning", most, "weights") | {"shared": True}, most),
        seconded(cell("ac", "relearning", few, "weights") | {"shared": True}, few),
    ]
    page = summary_page(rows, "c", 9, "tiny")
    told = {line.split(" | ")[0]: line for line in page.splitlines() if line.startswith("|") and "points" in line}
    assert set(told) == {"| PEZ", "| GCG", "| relearning\u00b9"}
    cells = {name: [c.strip() for c in line.strip("|").split("|")][1:] for name, line in told.items()}
    assert cells["| PEZ"] == ["ESD", "AC", "+85 points", "< 0.001", "+0 points", "1.000"]
    assert cells["| GCG"] == ["ESD", "AC", "+0 points", "1.000", "+85 points", "< 0.001"]
    assert "by probe | p |" in page and "p speaks of this one effort" in page
    assert "| PEZ | 1 / 20 | 1 / 20 |" in page.partition("judged by probe")[2]
    alone = summary_page([r | {"second_judge": None} for r in rows], "c", 9, "tiny")
    assert "by probe" not in alone and "judged by" not in alone


def test_what_beats_luck_on_a_model_that_never_saw_it_is_named():
    def never(attack: str, hits: int, **more) -> dict:
        return cell("never_saw", attack, "h" * hits + "." * (20 - hits)) | {"looks": 6, "found": [-1] * 20} | more

    budget = {k: 0 for k in ("gradient_steps", "model_evaluations", "images_judged", "found_new", "confirmed")}
    budget |= {"shared": False, "readable": 20}
    blind = [never("tina", 12, **budget | {"looks": 0}), never("img2img", 5, **budget | {"looks": 0})]
    rows = [never(a, h, **budget) for a, h in (("pez", 12), ("gcg", 4), ("random_tokens", 0), ("seed_search", 2))]
    page = summary_page([never("plain", 0), *rows, *blind], "c", 9, "tiny")
    [line] = [line for line in page.splitlines() if line.startswith("Images of the controls")]
    by_interval, _, exact = line.partition("By McNemar's")
    # four attacks less two controls, and what looked at no picture less plain prompts
    assert "for 10 comparisons, so that 8 prompts" in exact
    named = [
        f"{attack} less {control}"
        for attack in ("PEZ", "text-free inversion")
        for control in ("random tokens", "seed search")
    ]
    assert all(f"{name} (p 0.0" in exact for name in [*named, "text-free inversion less plain prompt"])
    assert exact.count(" less ") == 5  # 12 hits; not GCG's 4, nor the 5 of img2img
    assert "GCG less random tokens" in by_interval and "img2img less plain prompt" in by_interval
    assert "PEZ less plain" not in line  # PEZ had luck besides
    level = [never(a, 2, **budget) for a in ("pez", "random_tokens")]
    assert "(one-sided, Holm-corrected for 1 comparisons, so that 5 prompts" in summary_page(level, "c", 9, "tiny")


def test_what_adds_nothing_to_plain_prompts_is_no_strongest_attack():
    from excise.pipelines.benchmark.summary import strongest_table

    h = ["h" * k + "." * (20 - k) for k in range(21)]
    plain = {"ac": 3, "esd": 0}
    rows = [cell(e, "plain", h[k], "plain prompt") for e, k in plain.items()]
    table = table_of([*rows, cell("ac", "pez", h[3]), cell("esd", "pez", h[5])])
    [line] = [row for row in strongest_table(table).splitlines() if row.startswith("| white-box text |")]
    assert line.count("none beyond plain prompts") == 1 and line.count("PEZ |") == 2  # among its attacks, and of ESD
    page = leaderboard_page(table.to_dict("records"), "command", 4, "tiny")
    assert page.count("<small>none beyond plain prompts</small>") == 1 and page.count("<small>PEZ</small>") == 1


def test_seed_search_alone_is_no_control_of_what_others_bring_back():
    from excise.pipelines.benchmark.summary import strongest_table

    rows = [cell("ac", "plain", "." * 20, "plain prompt"), cell("ac", "pez", "h" * 4 + "." * 16)]
    luck = {a: cell("ac", a, "h" + "." * 19, "black-box text") for a in ("seed_search", "random_tokens")}
    for controls, told in (([], True), (["seed_search"], True), (["random_tokens"], False)):
        page = strongest_table(table_of([*rows, *(luck[a] for a in controls)]))
        assert ("No control was run here" in page) == told and ("| luck alone |" in page) != told


def test_prompts_that_were_spared_the_attack_are_told():
    plain = cell("ac", "plain", "h..." + "." * 16, "plain prompt") | {"found": None}
    spared = cell("ac", "pez", "h..." + "." * 16) | {"found": [0, 0, 3, -1] + [-1] * 16}
    tried = cell("esd", "pez", "h..." + "." * 16) | {"found": [0, 2, 3, -1] + [-1] * 16}
    other = cell("esd", "plain", "h..." + "." * 16, "plain prompt") | {"found": None}
    note = spared_note(table_of([plain, spared, other, tried]))
    assert note.endswith("nothing was tried on it: AC 1 (PEZ).\n")
    assert spared_note(table_of([other, tried])) == "" == spared_note(table_of([plain]))
