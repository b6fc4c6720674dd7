"""Which label a prompt names beside the concept's own."""

from __future__ import annotations

import pandas as pd
import pytest

from excise.metrics.cross_domain import asked_labels

STYLES = {"flat": ["in flat style"], "fluent": ["in glossy style", "glossy art"], "noto": ["in classic style"]}
THINGS = {name: [name] for name in ("car", "carrot", "ice cream", "pine tree", "tree", "t-shirt")}


@pytest.mark.parametrize(
    ("words", "prompt", "label"),
    [
        (STYLES, "a picture of a bee in flat style", "flat"),
        (STYLES, "an icon of a bee In Glossy Style, on a red background", "fluent"),
        (STYLES, "glossy art of a bee", "fluent"),
        (STYLES, "a bee on a red background", None),  # no style is named
        (STYLES, "a bee in flat style in classic style", "noto"),  # the longer words
        (STYLES | {"dull": ["in matte style"], "grey": ["in plain style"]}, "in matte style in plain style", None),
        (THINGS, "a carrot in flat style", "carrot"),  # no car in it
        (THINGS, "a pine tree", "pine tree"),
        (THINGS, "an ice cream.", "ice cream"),
        (THINGS, "a t-shirt, on a red background", "t-shirt"),
        (THINGS, "a car-rot", "car"),
        (THINGS, "", None),
        ({}, "a car", None),
    ],
)
def test_a_prompt_asks_for_the_label_whose_words_it_has(words, prompt, label):
    found = asked_labels(pd.Series({"p": prompt}), words)
    assert found.to_dict() == ({} if label is None else {"p": label})
