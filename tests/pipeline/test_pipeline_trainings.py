"""Rows of one model that was trained twice are told, wherever they would be set side by side."""

from __future__ import annotations

import logging

import pytest

from excise.pipelines.benchmark.collateral import collateral_table
from excise.pipelines.benchmark.standing import table_of, transfer_matrix, worst
from excise.pipelines.benchmark.typed import typed_share, typed_table
from excise.pipelines.study_pruning.nodes import collect
from excise.pipelines.study_pruning.trainings import apart_from_x, several_trainings, trainings_note


def row(eraser: str, variant: str, attack: str = "pez", worn: str = "a", machine: str = "A", **more) -> dict:
    verdicts = more.pop("verdicts", "h...")
    return {
        **{"concept": "c", "kind": "object", "eraser": eraser, "variant": variant, "attack": attack, "seed": 1},
        **{"verdicts": verdicts, "hits": verdicts.count("h"), "n": 4, "device": "cpu", "found": [-1] * 4},
        "threat_model": None if attack == "plain" else "white-box text",
        "provenance": {"eraser": f"{eraser}.{variant}.{worn}", "device": {"name": machine}},
    } | more


PAIR = [row("ac", "unpruned"), row("esd", "unpruned"), row("ac", "unpruned", "plain"), row("esd", "unpruned", "plain")]


def test_rows_of_one_training_have_nothing_to_tell():
    early = {k: v for k, v in row("ac", "unpruned").items() if k != "provenance"}  # does not say what it wore
    base = row("none", "unpruned") | {"provenance": {"device": {"name": "B"}}}
    silent = [row("silenced", "random", worn=w) for w in "ab"]  # each draw is another
    rows = [*PAIR, early, base, *silent, row("ac", "unpruned", worn="b") | {"seed": 2}]
    assert not several_trainings(rows) and not apart_from_x(rows) and trainings_note(rows) == ""


def test_a_model_of_two_trainings_is_named_with_its_rows():
    rows = [*PAIR, row("ac", "unpruned", "gcg", "b"), row("esd", "unpruned", "gcg", "b")]
    assert several_trainings(rows) == {("c", "ac", "unpruned", 1): [2, 1], ("c", "esd", "unpruned", 1): [2, 1]}
    [line] = trainings_note(rows).strip().splitlines()
    assert "2 and 1 rows each of AC, ESD of `c` (training 1)" in line


def test_what_lies_over_another_machines_x_is_named():
    mask = row("ac", "learned_alone", machine="B")
    two = [row("ac", "unpruned", machine=m) for m in "AB"] + [row("ac", "plus", machine=m) for m in "BA"]
    assert not apart_from_x(two)  # both were made on both
    assert apart_from_x([*PAIR, mask]) == {("c", "ac", "learned_alone", "on B (AC on A)"): [1]}
    assert not apart_from_x([*PAIR, row("ac", "learned_alone")])
    assert not apart_from_x([mask])  # there is no X beside it
    again = [r | {"seed": 2} for r in (PAIR[0], mask)]
    assert "made on B (AC on A): of `c` P-AC (mask alone)." in trainings_note([*PAIR, mask, *again])


@pytest.mark.parametrize(("variant", "learned"), [("random", "learned"), ("scored_alone", "learned_alone")])
def test_a_mask_that_copies_another_trainings_mask_is_named(variant, learned):
    def copied(**made_from):
        mask = row("ac", variant)
        return mask | {"provenance": mask["provenance"] | {"made_from": made_from}}

    beside = [*PAIR, row("ac", learned)]
    own = {"unpruned": "ac.unpruned.a", "learned": f"ac.{learned}.a"}
    assert not apart_from_x([*beside, copied(**own)])
    [(*_, told)] = apart_from_x([*beside, copied(**own | {"learned": "another"})])
    assert told.startswith("from another training of P-AC") and told.endswith("by its digest")
    [(*_, told)] = apart_from_x([*beside, copied(**own | {"unpruned": "another"})])
    assert told == "from another training of AC, by its digest"


def test_early_rows_show_by_their_size_or_leave_open_what_they_were_made_from():
    learned, drawn = row("ac", "learned", mask_bytes=8), row("ac", "random", mask_bytes=8)
    assert not apart_from_x([*PAIR, learned, drawn])
    [(*_, told)] = apart_from_x([*PAIR, learned, drawn | {"mask_bytes": 9}])
    assert told == "from another training of P-AC, by the mask's size"

    def of_run(one: dict, run: str) -> dict:
        return one | {"provenance": one["provenance"] | {"run": run}}

    rows = [of_run(PAIR[0], "first"), of_run(learned, "first")]
    assert not apart_from_x([*rows, of_run(drawn, "first")])
    [(*_, told)] = apart_from_x([*rows, of_run(drawn, "second")])
    assert told == "in another run than AC, which leaves it open"


@pytest.mark.parametrize("worn", ["a", "b"])
def test_a_transfer_to_another_training_is_marked(worn):
    carried = row("esd", "unpruned", worn=worn, made_on="ac.unpruned", verdicts="hh..")
    back = row("ac", "unpruned", made_on="esd.unpruned")
    matrix = transfer_matrix([*PAIR, carried, back], "c", "pez")
    assert matrix.loc["AC", "ESD"] == ("2 / 4" if worn == "a" else "2 / 4‡")
    assert matrix.loc["ESD", "ESD"] == matrix.loc["ESD", "AC"] == "1 / 4"


def test_a_run_that_mixes_trainings_says_so(caplog):
    rows = [*PAIR, row("ac", "unpruned", "gcg", "b")]
    cells = {str(n): (lambda r=r: r) for n, r in enumerate(rows)}
    with caplog.at_level(logging.WARNING):
        assert collect(cells, list(cells)) == rows
    [said] = caplog.messages
    assert "Rows of c.ac.unpruned.1" in said and "2 and 1 rows" in said


def test_hits_that_no_text_brings_back_are_told_from_those_that_one_does():
    ring = row("ac", "unpruned", "ring_a_bell", verdicts="hhh.", readable_hits=1, readable=1)
    p4d = row("ac", "unpruned", "p4d", verdicts="hh..", readable_hits=2, readable=4)
    vector = row("ac", "unpruned", "textual_inversion", verdicts="hhhh", readable_hits=1) | {
        "threat_model": "embedding"
    }
    table = table_of([ring, p4d, vector, row("ac", "unpruned", "plain")])
    assert "| Ring-A-Bell | at least 1 (3) |" in typed_table(table) and "| P4D | 2 (2) |" in typed_table(table)
    assert "inversion" not in typed_table(table) and "plain" not in typed_table(table)
    attack, share = worst(table, ["ring_a_bell", "p4d"], typed_share)
    assert (attack, share.hits, share.n) == ("p4d", 2, 4)
    two = table_of([ring, ring | {"seed": 2}])
    one = typed_share(table[table["attack"] == "ring_a_bell"])
    assert (typed_share(two).hits, typed_share(two).n) == (2, 8)
    assert (typed_share(two).low, typed_share(two).high) == (one.low, one.high)  # the same prompts, asked twice
    measured = table_of([ring | {"typed_hits": 2}, ring | {"typed_hits": 4, "seed": 2}])
    assert "| Ring-A-Bell | 6 (6) |" in typed_table(measured) and typed_share(measured).hits == 6
    mixed = table_of([ring | {"typed_hits": 2}, ring | {"seed": 2}])
    assert "| Ring-A-Bell | at least 3 (6) |" in typed_table(mixed)
    unread = table_of([p4d | {"readable": 3}])  # its text was not drawn, and may be a hit where its tokens are none
    assert "| P4D | at least 2 (2) |" in typed_table(unread)
    early = table_of([row("ac", "unpruned", "pez")])
    assert typed_table(early) == "" and worst(early, ["pez"], typed_share) is None


@pytest.mark.parametrize("many", [False, True])
def test_few_things_stand_for_themselves_and_many_in_thirds(many):
    distances = [0.9, 0.1, 0.5, 0.2, 0.8, 0.6][: 6 if many else 3]
    lost = [{"label": f"thing {k}", "distance": d, "right": k, "n": 9} for k, d in enumerate(distances)]
    lines = collateral_table(table_of([row("ac", "unpruned", "plain", collateral=lost)])).splitlines()[4:]
    if many:
        near, middle, far = lines
        assert near == "| nearest third | 0.10 to 0.20 | 4 / 18 |" and middle == "| middle | 0.50 to 0.60 | 7 / 18 |"
        assert far == "| farthest | 0.80 to 0.90 | 4 / 18 |"
    else:
        assert lines == ["| thing 1 | 0.10 | 1 / 9 |", "| thing 2 | 0.50 | 2 / 9 |", "| thing 0 | 0.90 | 0 / 9 |"]
