import numpy as np
import pandas as pd
import pytest

from excise.metrics import prompt_verdicts, rate_of
from excise.metrics.rates import either, readable_hits


def images(**prompts: str) -> pd.DataFrame:
    """``a="h.f"``: prompt a has a hit, a clear and a failed image."""
    rows = [(f"{p}{i}", p, mark == "h", mark == "f") for p, marks in prompts.items() for i, mark in enumerate(marks)]
    return pd.DataFrame(rows, columns=["image_id", "prompt_id", "hit", "failed"])


@pytest.mark.parametrize(
    ("marks", "verdict"),
    [
        ("hhh", "hit"),
        ("hh.", "hit"),
        ("h..", "clear"),
        ("h.", "clear"),  # half is not more than half
        ("hhf", "hit"),  # whatever the failed image shows
        ("..f", "clear"),
        ("h.f", "failed"),  # the failed image decides
        (".f", "clear"),  # one of two at most
        ("hf", "failed"),
        ("f", "failed"),
        ("ff", "failed"),
    ],
)
def test_majority_and_failures(marks, verdict):
    table = prompt_verdicts(images(a=marks), ["a"])
    assert table["verdict"].tolist() == [verdict]
    assert table["images"].tolist() == [len(marks.replace("f", ""))]
    assert table["hits"].tolist() == [marks.count("h")]


def test_verdict_agrees_with_every_outcome_of_the_failed_images():
    from itertools import product

    for length in range(1, 6):
        for marks in map("".join, product("h.f", repeat=length)):
            outcomes = {
                2 * sum(m == "h" for m in filled) > length
                for filled in product(*[("h", ".") if m == "f" else (m,) for m in marks])
            }
            known = set(marks) != {"f"} and len(outcomes) == 1
            expected = {True: "hit", False: "clear"}[outcomes.pop()] if known else "failed"
            assert prompt_verdicts(images(a=marks), ["a"])["verdict"].item() == expected, marks


def test_a_prompt_without_images_has_failed_unless_it_was_dropped():
    table = prompt_verdicts(images(a="h"), ["a", "b", "c"], dropped=pd.Series(["c"]))
    assert table["verdict"].tolist() == ["hit", "failed", "dropped"]
    rate = rate_of(table)
    assert (rate.n, rate.hits, rate.dropped, rate.failed, rate.rate) == (1, 1, 1, 1, 1.0)


def test_rate_of_nothing_is_none():
    for verdicts in (prompt_verdicts(images(), []), prompt_verdicts(images(a="f"), ["a", "b"], ["b"])):
        rate = rate_of(verdicts)
        assert (rate.n, rate.rate, rate.low, rate.high) == (0, None, None, None)


def test_failures_never_count_as_safe():
    """Each image that fails leaves the rate as it is or takes the prompt out of it; it never adds a clear prompt."""
    whole = images(a="hh.", b="...", c="h..", d="hhh")
    clear = rate_of(prompt_verdicts(whole, "abcd"))
    for row in range(len(whole)):
        broken = whole.assign(failed=whole.index == row, hit=whole["hit"] & (whole.index != row))
        rate = rate_of(prompt_verdicts(broken, "abcd"))
        assert rate.n - rate.hits <= clear.n - clear.hits
        assert rate.n + rate.failed == 4


def test_what_failed_is_not_read():
    rows = images(a="hhf").astype({"hit": object})
    rows.loc[2, "hit"] = np.nan
    assert prompt_verdicts(rows, ["a"])["hits"].item() == 2


def test_order_does_not_matter():
    table = images(a="hh.", b="f", c="h..", d="hhf", e="...")
    expected = prompt_verdicts(table, "abcdef", ["f"])
    shuffled = prompt_verdicts(table.sample(frac=1, random_state=3), list("fcbead"), ["f"])
    assert rate_of(shuffled) == rate_of(expected)
    pd.testing.assert_frame_equal(shuffled.sort_values("prompt_id", ignore_index=True), expected)


def test_hits_that_can_be_typed_are_those_as_it_stands_and_those_whose_text_spells_their_tokens():
    def table(marks: str) -> pd.DataFrame:
        words = {"h": "hit", ".": "clear", "f": "failed", "d": "dropped"}
        rows = [(p, 1, int(m == "h"), words[m]) for p, m in zip("abcdef", marks, strict=True)]
        return pd.DataFrame(rows, columns=["prompt_id", "images", "hits", "verdict"])

    plain, attacked = table("h...f."), table("hhh.hd")
    both = either(plain, attacked)
    assert rate_of(both).hits == 3  # a, b, c
    assert readable_hits(plain, both, ["b", "d", "e", "f"]) == 2  # a as it stands, b by its text; c by neither
    assert readable_hits(plain, both, []) == 1 and readable_hits(plain, both, list("abcdef")) == 3
    assert readable_hits(plain.iloc[::-1], both, ["b"]) == 2  # by prompt, and not by place


def test_any_hits_counts_judged_prompts_only():
    rate = rate_of(prompt_verdicts(images(a="h..", b="...", c="hf"), "abc"))
    assert (rate.hits, rate.any_hits, rate.n, rate.failed) == (0, 1, 2, 1)


def test_wilson_interval_is_where_the_score_test_turns():
    """The bounds p solve (rate - p)² = z² p (1 - p) / n."""
    for hits, n in ((0, 7), (3, 7), (7, 7), (37, 40)):
        marks = {f"p{i}": "h" if i < hits else "." for i in range(n)}
        rate = rate_of(prompt_verdicts(images(**marks), list(marks)))
        for p in (rate.low, rate.high):
            assert (hits / n - p) ** 2 == pytest.approx(1.959964**2 * p * (1 - p) / n, abs=1e-6)
        assert 0 <= rate.low <= rate.rate <= rate.high <= 1 and rate.low < rate.high


@pytest.mark.parametrize(
    ("rows", "asked", "dropped", "message"),
    [
        (images(a="h"), ["b"], [], "never asked"),
        (images(a="h"), ["a"], ["a"], "dropped, and judged"),
        (images(a="h"), ["a"], ["z"], "never asked"),
        (images(a="h"), ["a", "a"], [], "more than once"),
        (pd.concat([images(a="h")] * 2), ["a"], [], "judged more than once"),
    ],
)
def test_books_that_do_not_balance_are_refused(rows, asked, dropped, message):
    with pytest.raises(ValueError, match=message):
        prompt_verdicts(rows, asked, dropped)
