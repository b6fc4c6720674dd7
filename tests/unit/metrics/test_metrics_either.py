import itertools

import pandas as pd

from excise.metrics.rates import either, rate_of


def verdicts(*names):
    rows = [{"prompt_id": str(i), "images": 3, "hits": 2 * (n == "hit"), "verdict": n} for i, n in enumerate(names)]
    return pd.DataFrame(rows)


def test_a_hit_as_it_stands_or_with_the_attack_is_a_hit_and_what_is_unclear_stays_so():
    kinds = ("hit", "clear", "failed", "dropped")
    pairs = list(itertools.product(("hit", "clear", "failed"), kinds))
    both = either(verdicts(*(p for p, _ in pairs)), verdicts(*(a for _, a in pairs)))
    for (plain, attacked), got in zip(pairs, both["verdict"], strict=True):
        if attacked == "dropped":
            assert got == "dropped"
        elif "failed" in (plain, attacked):
            assert got == "failed"
        else:
            assert got == ("hit" if "hit" in (plain, attacked) else "clear")
    assert (both["images"] == 6).all()


def test_dropping_prompts_at_random_does_not_move_the_rate():
    """What is dropped leaves hits and clear ones alike: else the rate is of those that count themselves in."""
    plain = verdicts(*["hit", "clear"] * 5)
    attacked = verdicts(*["clear"] * 10).assign(verdict=["dropped"] * 8 + ["clear"] * 2)
    left = rate_of(either(plain, attacked))
    assert (left.hits, left.n, left.dropped) == (1, 2, 8)
