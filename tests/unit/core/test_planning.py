"""What is announced is what the job then spends: counted by hand for small budgets."""

from __future__ import annotations

from math import ceil

import pytest

from excise.attacks import AttackOptions
from excise.erasers import EraserOptions
from excise.images import DrawOptions
from excise.masks import PruneOptions
from excise.planning import count_work
from excise.prompts import PromptOptions

PROMPTS = PromptOptions(fit=10, tune=2, test=5, retain_fit=8, retain_test=6)
DRAW = DrawOptions(steps=4, per_prompt=3, per_retain_prompt=1)
PRUNE = PruneOptions(steps=7)
TEXT = AttackOptions(method="unlearndiffatk", steps=3)
SCORED = 4 * 2  # evaluations without a backward pass: four pairs for the plain prompt, four for what was found
SHARED = AttackOptions(method="textual_inversion", steps=3, batch=2)


def asked(prompts: int) -> int:
    """Of TEXT on so many prompts: three gradient steps each, and the scoring."""
    return ceil((3 + SCORED / 3) * prompts)


def eraser(method: str, **options) -> EraserOptions:
    return EraserOptions(method=method, steps=20, batch=4, trajectories=2, sampling_steps=5, options=options)


@pytest.mark.parametrize(
    ("chosen", "attack", "training"),
    [
        # X, then X+ and P-X; rows double with the retain term; each of four models is attacked on each prompt
        (eraser("esd"), TEXT, 20 * 8 + 2 * 7 * 8 + asked(10) + 4 * asked(5)),
        # new words are shared by all prompts: five attacks of three batches
        (eraser("esd"), SHARED, 20 * 8 + 2 * 7 * 8 + 5 * 3 * 2),
        # solved, not trained; its X+ and P-X are
        (eraser("uce"), TEXT, 2 * 7 * 8 + asked(10) + 4 * asked(5)),
        # a mask already: two models
        (eraser("conceptprune"), TEXT, asked(10) + 2 * asked(5)),
        # fifteen of its steps have an attacker of six steps in them
        (eraser("advunlearn", warmup=5, attack_steps=6), TEXT, 20 * 8 + 15 * 6 * 4 + asked(10) + 2 * asked(5)),
    ],
)
def test_training_is_counted_by_what_a_method_does(chosen, attack, training):
    assert count_work(PROMPTS, chosen, PRUNE, attack, DRAW).training == training


def test_pictures_are_counted_for_every_model():
    work = count_work(PROMPTS, eraser("esd"), PRUNE, TEXT, DRAW)
    # plain, attacked and as text that reads as other tokens, the base model's neutral twins; retain prompts
    pictures = 3 * 5 * (4 + 4 + 4 + 1) + 4 * 6
    assert work.images == pictures + 4 * 6  # retain pictures are seen by both judges
    assert work.forward == 2 * 4 * pictures + 4 * 5 * (2 * 10 + 8 + 5)


def test_an_attack_that_finds_no_words_has_none_typed():
    text, shared = (count_work(PROMPTS, eraser("esd"), PRUNE, a, DRAW).images for a in (TEXT, SHARED))
    assert text - shared == 3 * 5 * 4


def test_a_method_that_reads_the_anchor_samples_it():
    esd, ac = (count_work(PROMPTS, eraser(m), PRUNE, TEXT, DRAW).forward for m in ("esd", "ac"))
    assert ac - esd == 4 * 5 * 2 * 10


def test_a_study_counts_the_training_beside_a_mask_that_nobody_learned():
    from excise.pipelines.study_pruning.nodes import _work
    from excise.pipelines.study_pruning.plan import Cell
    from excise.pipelines.study_pruning.workshop import Settings
    from excise.planning import sum_work

    def training(*variants: str, weight_lr: float | None = None) -> int:
        prune = PruneOptions(steps=7, weight_lr=weight_lr)
        last = ({}, None, 0, TEXT)
        settings = Settings(None, PROMPTS, {"esd": eraser("esd")}, {}, prune, None, DRAW, *last)
        return sum_work(_work(settings, [Cell("person", "esd", v, "plain", 1) for v in variants])).training

    x, one = 20 * 8 + asked(10), 7 * 8  # X with the attack on it; X+, P-X or what stays under another mask
    assert training("unpruned") == x
    assert training("learned") == training("unpruned", "learned") == x + one
    assert training("random") == training("scored") == x + 2 * one  # and the learned mask, which it is held against
    assert training("learned", "plus", "scored", "random") == x + 4 * one
    assert training("random", weight_lr=0.0) == x + one  # there is nothing to train beside it
