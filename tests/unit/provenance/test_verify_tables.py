"""`kedro verify`: what counts as the same table."""

from __future__ import annotations

import copy

import pandas as pd
import pytest

from excise.commands.verify.differences import differences

SEEN = pd.DataFrame({"image_id": ["a", "b", "c"], "hit": [True, False, True], "score": [0.81, 0.12, None]})


def test_equal_tables_do_not_differ() -> None:
    assert differences(SEEN, SEEN.copy()) == ""


def test_the_last_digits_of_a_score_do_not_count() -> None:
    assert differences(SEEN, SEEN.assign(score=SEEN["score"] * (1 + 1e-6))) == ""


@pytest.mark.parametrize(
    "other",
    [
        {"score": [0.81, 0.13, None]},  # another score
        {"score": [0.81, 0.12, 0.5]},  # one where there was none
        {"hit": [True, True, True]},  # what follows from a score
        {"image_id": ["a", "b", "d"]},
    ],
)
def test_everything_else_does(other: dict[str, list]) -> None:
    assert differences(SEEN, SEEN.assign(**other)) == "1 of 3 rows are others"


def test_other_columns_and_other_numbers_of_rows_are_told() -> None:
    assert differences(SEEN, SEEN.rename(columns={"hit": "hits"})) == "it has other columns"
    assert differences(SEEN, SEEN[:2]) == "it has 3 rows, and comes out with 2"


FIDELITY = {"ac": {"frechet": {"distance": 12.5, "n": 40}, "cross": {"hits": 3, "sha256": "0a"}}}


def test_the_last_digits_of_a_distance_do_not_count_either() -> None:
    made = copy.deepcopy(FIDELITY)
    made["ac"]["frechet"]["distance"] *= 1 + 1e-6
    assert differences(FIDELITY, made) == ""


@pytest.mark.parametrize(
    ("what", "name", "value", "told"),
    [
        ("frechet", "distance", 12.6, "ac.frechet.distance is 12.5 and comes out as 12.6"),
        ("cross", "hits", 4, "ac.cross.hits is 3 and comes out as 4"),
        ("cross", "sha256", "0b", "ac.cross.sha256 is 0a and comes out as 0b"),  # other weights judge here
    ],
)
def test_everything_else_of_a_result_does(what: str, name: str, value: object, told: str) -> None:
    made = copy.deepcopy(FIDELITY)
    made["ac"][what][name] = value
    assert differences(FIDELITY, made) == told
