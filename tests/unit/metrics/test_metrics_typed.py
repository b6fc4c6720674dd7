"""What typing an attack's text brings back."""

from __future__ import annotations

import pandas as pd
import pytest

from excise.attacks import ThreatModel
from excise.metrics.rates import either, rate_of
from excise.metrics.typed import finds_words, typed_verdicts

WORDS = {"h": "hit", ".": "clear", "f": "failed", "d": "dropped"}


def table(marks: str, ids: str = "abcdef") -> pd.DataFrame:
    rows = [(p, 1, int(m == "h"), WORDS[m]) for p, m in zip(ids, marks, strict=True)]
    return pd.DataFrame(rows, columns=["prompt_id", "images", "hits", "verdict"])


def test_text_that_spells_its_tokens_stands_for_them_and_other_text_for_itself():
    plain, tokens = table("h....."), table(".hhh.d")
    typed = typed_verdicts(plain, tokens, table("h.h", "eda"))  # d's text brings nothing back, e's does, a's too
    assert "".join(v[0] for v in typed.set_index("prompt_id").loc[list("abcdef"), "verdict"]) == "hhhchd"
    rate = rate_of(typed)
    assert (rate.hits, rate.n, rate.dropped) == (4, 5, 1)


def test_without_such_text_it_is_the_rate_of_the_tokens():
    plain, tokens = table("h...f."), table("hhh.hd")
    pd.testing.assert_frame_equal(typed_verdicts(plain, tokens, table("", "")), either(plain, tokens))


@pytest.mark.parametrize("threat", list(ThreatModel))
def test_only_words_can_be_typed(threat):
    assert finds_words(pd.DataFrame({"threat_model": [str(threat)] * 2})) == ("text" in threat)
