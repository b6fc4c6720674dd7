"""Explicit words do not reach people, nor do whole prompts of unsafe concepts. Clinical words stand in for all."""

from __future__ import annotations

import random
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from excise.concepts import Concept
from excise.datasets import PromptTableDataset
from excise.pipelines.report import nodes
from excise.prompts import PromptOptions, build_prompts
from excise.reports import Context, contact_sheet, html_report, masking, sheets
from excise.reports.masking import for_people, is_explicit, mask_words, previewed, veil
from tiny import PROJECT

LONG = "a nude adult person standing in a studio by a window"
STEMS = yaml.safe_load(masking.LIST.read_text())["stems"]
DRAWN = ("nude", "naked", "topless", "genital", "erotic", "mutilated", "undressed")


@pytest.mark.parametrize("stem", STEMS)
def test_what_begins_with_a_stem_is_masked(stem):
    assert stem not in mask_words(f"a photo of {stem} things") and mask_words(stem.upper()) == stem.upper()[0] + "***"
    assert mask_words(f"a mill, ({stem}s:1.3)") == "a mill, (***"


APART = ("n.u.d.e", "n-u-d-e", "n u d e", "nu\u200bde", "nude-art", "(nude)", "nude,", "n*de")
LETTERS = (
    "nud3",
    "NUDE",
    "nuuude",
    "n\u00fade",
    "n\u0430ked",
    "n\u0301ude",
    "n4ked",
    "\uff4e\uff55\uff44\uff45",
    "裸体の絵",
)


@pytest.mark.parametrize("hidden", [*APART, *LETTERS, "\U0001d427\U0001d42e\U0001d41d\U0001d41e"])
def test_disguises_are_masked_too(hidden):
    shown = mask_words(f"a photo of {hidden} here")
    assert hidden not in shown and "***" in shown and shown.startswith("a photo of ") and shown.endswith(" here")


@pytest.mark.parametrize(
    "prompt",
    [
        "a church by a lake",
        "a grape",
        "the west wing",
        "analog photo",
        "a nudge",
        "sextet",
        "an essex village",
        "a cactus, 3d",
    ],
)
def test_other_words_are_shown(prompt):
    assert mask_words(prompt) == prompt and not is_explicit(prompt)


def test_prompts_of_the_shipped_concepts_are_shown_as_they_are():
    for path in (PROJECT / "conf/base/concepts").glob("*.yml"):
        concept = Concept(name=path.stem, **yaml.safe_load(path.read_text())[path.stem])
        table, _ = build_prompts(concept, PromptOptions())
        assert previewed(table["prompt"]) == table["prompt"].tolist()


def test_the_hashed_words_are_no_words_and_some_are_found():
    found = yaml.safe_load(masking.LIST.read_text())["hashes"]
    assert len(found) == len(set(found)) >= 20 and all(re.fullmatch("[0-9a-f]{20}", h) for h in found)
    see = masking._Explicit()
    see.hashes = frozenset({masking._digest("zyzzy"), masking._digest("=quux")})
    assert (
        see.sees("zyzzyva")
        and see.sees("ZYZZY5")
        and see.sees("quux")
        and not see.sees("quuxes")
        and not see.sees("zyz")
    )


def test_a_veiled_prompt_shows_its_beginning_only():
    assert veil(LONG) == f"a n*… ({len(LONG)} letters)"
    assert veil("a photo of something") == "a ph… (20 letters)" and veil("") == ""
    assert for_people(LONG, unsafe=False) == LONG.replace("nude", "n***")
    draw = random.Random(3)
    for _ in range(50):
        text = " ".join(draw.choice(["mill", *DRAWN]) for _ in range(6))
        assert not any(word in veil(text) for word in DRAWN)
        assert not any(word in for_people(text, unsafe=False) for word in DRAWN)


@pytest.mark.parametrize("unsafe", [False, True])
def test_no_explicit_word_reaches_a_report(metrics_of, unsafe):
    told = metrics_of((), none="h" * 8, esd="h" * 4 + "." * 4)
    context = Context(
        erase="the concept",
        anchor="a naked eye",
        images_per_prompt=3,
        command="kedro run",
        example=LONG,
        twin="a topless statue in a park",
        unsafe=unsafe,
    )
    html = html_report(told, {}, context)
    assert not re.search(rf"\b({'|'.join(DRAWN)})", html.replace("nudenet", ""))
    assert ("adult person standing" in html) != unsafe and ("statue in a park" in html) != unsafe


@pytest.mark.parametrize("unsafe", [False, True])
def test_no_explicit_word_reaches_a_contact_sheet(monkeypatch, unsafe):
    written = []
    original = sheets.ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        sheets.ImageDraw.ImageDraw,
        "text",
        lambda self, at, text, *rest, **how: written.append(text) or original(self, at, text, *rest, **how),
    )
    image = np.zeros((64, 64, 3), np.uint8)
    contact_sheet([("ESD", [image, image])], [LONG, "a naked tree"], [[True, False]], concept="it", unsafe=unsafe)
    said = " ".join(written)
    assert not any(word in said for word in DRAWN) and ("***" in said or "letters" in said)
    assert ("adult person" in said) != unsafe and ("cut on purpose" in said) == unsafe


def test_the_report_names_sets_and_masks_prompts(metrics_of, monkeypatch):
    concept = yaml.safe_load((PROJECT / "conf/sd14/concepts/nudity.yml").read_text())["nudity"] | {"name": "nudity"}
    rows = [
        {"prompt_id": f"{s}-test-0000", "set": s, "split": "test", "prompt": text, "twin_id": f"{t}-test-0000"}
        for s, t, text in (("target", "neutral", LONG), ("neutral", "target", "an adult person wearing clothes"))
    ]
    account = {
        "set": "i2p",
        "source": "i2p.csv",
        "sha256": "ab" * 32,
        "read": 10,
        "minors": 2,
        "kept": 8,
        "used": {"test": 2},
    }
    seen = {}
    monkeypatch.setattr("excise.reports.html_report", lambda m, images, context: seen.update(context=context) or "")
    draw = type("Draw", (), {"per_prompt": 3})
    nodes.write_report(
        concept,
        pd.DataFrame(rows),
        {"minors": 2, "sets": [account]},
        {"erasers": {}},
        None,
        None,
        draw,
        {},
        {"command": "kedro run"},
    )
    said = " ".join(seen["context"].notes)
    assert "2 prompt rows with words for minors were dropped" in said
    assert "i2p.csv" in said and "10 rows read" in said and "abababababab" in said
    html = html_report(metrics_of((), none="h" * 8), {}, seen["context"])
    assert "i2p.csv" in html and "standing in a studio" not in html


def test_previews_of_tables_are_masked_and_the_tables_are_not(tmp_path):
    benign = pd.DataFrame({"prompt": ["a mill", "a tower"], "seed": [1, 2]})
    explicit = pd.DataFrame(
        {"prompt": ["a mill in spring", "a mill at noon", LONG], "text": ["mill", None, "naked mill"]}
    )
    for name, table in (("a", benign), ("b", explicit)):
        dataset = PromptTableDataset(filepath=str(tmp_path / f"{name}.parquet"))
        dataset.save(table)
        pd.testing.assert_frame_equal(dataset.load(), table)
        shown = dataset.preview(nrows=2)
        assert len(shown["data"]) == 2
        if name == "a":
            assert shown["data"] == [["a mill", 1], ["a tower", 2]]
        else:  # the explicit row is not among those shown, but the table is of its kind
            assert shown["data"][0] == ["a mi… (16 letters)", "mill… (4 letters)"]
