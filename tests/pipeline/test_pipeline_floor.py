"""The model that never saw the concept, and rows in which there was nothing to attack."""

from __future__ import annotations

import numpy as np
import pytest

from excise.errors import UserError
from excise.metrics.several import holm
from excise.pipelines.benchmark.floor import floor_table
from excise.pipelines.benchmark.standing import own_rows, table_of
from excise.pipelines.study_pruning.idle import flag_idle, refuse_other_habits
from excise.pipelines.study_pruning.pairs import mcnemar_p
from excise.pipelines.study_pruning.trainings import trainings_note


def row(attack: str, hits: int, looks: int | None = 0, eraser: str = "never_saw", **more) -> dict:
    return {
        **{"concept": "c", "kind": "object", "eraser": eraser, "variant": "unpruned", "attack": attack, "seed": 1},
        **{"verdicts": "h" * hits + "." * (20 - hits), "hits": hits, "n": 20, "device": "cpu", "looks": looks},
        "threat_model": None if attack == "plain" else "white-box text",
    } | more


CONTROLS = [row("random_tokens", 2, 10), row("seed_search", 0, 10)]


def told(*rows: dict) -> tuple[dict[str, list[str]], str]:
    """The table's cells by attack, and what stands below it."""
    table, _, below = floor_table(table_of([row("plain", 0, None), *CONTROLS, *rows])).partition("\n\nImages")
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    assert lines[0] == ["attack", "images", "less plain prompt", "less random tokens", "less seed search"]
    return {cells[0]: cells[1:] for cells in lines[2:]}, below


def test_an_attack_is_held_against_both_controls_and_one_that_looks_at_nothing_against_plain_prompts_too() -> None:
    cells, below = told(row("gcg", 2, 8), row("tina", 15))
    assert cells["GCG"] == ["8", "+10 points (-8 to +30)", "+0 points (-16 to +16)", "+10 points (-8 to +30)"]
    assert cells["text-free inversion"][0] == "0" and cells["text-free inversion"][2].startswith("+65 points")
    assert "for 5 comparisons" in below  # not GCG less plain prompts: it had luck besides
    named = below.split("is named): ")[1]
    assert named.count("text-free inversion less") == 3 and "GCG" not in named


@pytest.mark.parametrize(("hits", "lifted"), [(4, []), (6, ["seed search"]), (9, ["random tokens", "seed search"])])
def test_what_is_named_is_what_the_exact_test_says_of_so_many_comparisons(hits: int, lifted: list[str]) -> None:
    _, below = told(row("gcg", hits, 8))
    pairs = [[np.array([[True] * n + [False] * (20 - n)], float) for n in (hits, control)] for control in (2, 0)]
    corrected = holm([mcnemar_p(*pair, "greater") for pair in pairs])
    assert [p < 0.05 for p in corrected] == ["random tokens" in lifted, "seed search" in lifted]
    named = below.split("is named): ")[1]
    assert "for 2 comparisons" in below and named.count("GCG less") == len(lifted)
    assert all(f"GCG less {control} (p " in named for control in lifted) and (lifted or named == "none.\n")


def test_an_attack_of_which_nothing_was_judged_is_in_no_comparison() -> None:
    cells, below = told(row("gcg", 2, 8), row("pez", 0, 8, verdicts="d" * 20, n=0))
    assert cells["PEZ"][1:] == ["–", "–", "–"] and "for 2 comparisons" in below and "nan" not in below


def test_where_there_was_nothing_to_attack_the_file_says_so() -> None:
    nothing = [
        row("p4d", 8, eraser="none"),
        row("merging", 3),
        row("revival", 2, eraser="ac"),
        row("revival", 2, eraser="ac", prune_rate=float("nan")),
    ]
    assert all(flag_idle(one)["idle"] is True for one in nothing)
    assert list(table_of(nothing)["idle"]) == [True] * 4
    something = [row("p4d", 8, eraser="ac"), row("revival", 2, eraser="ac", prune_rate=0.1), row("gcg", 1)]
    assert [flag_idle(one) for one in something] == something and not table_of(something)["idle"].any()


@pytest.mark.parametrize(
    ("name", "method", "must"),
    [("against_base", "p4d", "p4d"), ("revival_of_none", "quantising", "revival"), ("old_one", "merging", "merging")],
)
def test_a_name_that_hides_what_the_attack_needs_is_refused(name: str, method: str, must: str) -> None:
    with pytest.raises(UserError, match=f"The attack '{name}' is made by '{method}': a name must begin with '{must}'"):
        refuse_other_habits(name, method)


def test_any_other_name_is_free() -> None:
    for name, method in (("p4d_long", "p4d"), ("relearning", "finetuning"), ("patient", "unlearndiffatk")):
        refuse_other_habits(name, method)


def test_a_transfer_from_another_training_does_not_cast_doubt_on_the_tables_without_it() -> None:
    own = [row(a, 1, eraser="ac", provenance={"eraser": "a"}) for a in ("plain", "pez")]
    carried = row("pez", 1, eraser="ac", made_on="esd.unpruned", provenance={"eraser": "b"})
    assert "Not one model" in trainings_note([*own, carried])
    assert trainings_note(own_rows([*own, carried])) == ""
