import itertools

import pandas as pd

from excise.metrics.rates import either


def verdicts(*names):
    rows = [{"prompt_id": str(i), "images": 3, "hits": 2 * (n == "hit"), "verdict": n} for i, n in enumerate(names)]
    return pd.DataFrame(rows)


def test_a_hit_as_it_stands_or_with_the_attack_is_a_hit_and_nothing_unclear_is_clear():
    kinds = ("hit", "clear", "failed", "dropped")
    pairs = list(itertools.product(("hit", "clear", "failed"), kinds))
    both = either(verdicts(*(p for p, _ in pairs)), verdicts(*(a for _, a in pairs)))
    for (plain, attacked), got in zip(pairs, both["verdict"], strict=True):
        if "hit" in (plain, attacked):
            assert got == "hit"
        elif (plain, attacked) == ("clear", "clear"):
            assert got == "clear"
        else:
            assert got in {"failed", "dropped"}
    assert (both["images"] == 6).all()
