"""AdvUnlearn while its attacker is at work."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from excise.erasers import EraserOptions, make_method
from excise.erasers.advunlearn import method as module
from material import RETAIN, STEPS, TARGETS

pytestmark = pytest.mark.usefixtures("base_model_is_untouched")
SEED, BATCH, MOVED = 3, 4, 0.8  # the student: all weights of the text encoder that are trained, times that


def losses_of(model, material, folder, monkeypatch, steps: int, **settings) -> list[dict[str, float]]:
    """Of the first steps, without taking any; the student is one that has moved already."""
    seen = []

    def look(weights, loss_of, *rest):
        with torch.no_grad():
            for value in weights.values:
                value.mul_(MOVED)
        seen.extend({k: float(v.detach()) for k, v in loss_of(step).items()} for step in range(steps))
        return []

    monkeypatch.setattr(module, "train", look)
    chosen = EraserOptions(method="advunlearn", batch=BATCH, steps=steps, retain_weight=2.0, options=settings)
    make_method(chosen).train(model, chosen, material, SEED, folder, "x")
    return seen


def states_with(model, ids: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
    """States of texts (n, L) with an embedding (n, d) of each one's own before the first word."""
    longer = torch.stack([torch.tensor([row[0], 0, *row[1:-1]]) for row in ids.tolist()])
    place = (torch.arange(longer.shape[1]) == 1).view(1, -1, 1)
    return model.encode_embeddings(torch.where(place, token.unsqueeze(1), model.word_vectors(longer)), longer)


@dataclass
class Expected:
    """ESD's loss on the concept's prompts alone, with what the attacker finds before them, and the retain loss."""

    plain: float
    attacked: float
    retain: float


@torch.no_grad()
def expected(model, material, step: int, **settings) -> Expected:
    """Row by row, with the student in the frozen model's place."""
    generator = torch.Generator().manual_seed(SEED * 1_000_003 + step)
    method, bank, kept = make_method(EraserOptions(method="advunlearn", options=settings)), material.concept, []
    places, rows = (torch.randint(n, (BATCH,), generator=generator) for n in (STEPS, len(TARGETS)))
    targets = []
    for place, row in zip(places, rows, strict=True):
        on, off = (
            model.predict(bank.latents[place, row][None], bank.times[place], model.encode([prompt]))
            for prompt in (TARGETS[row], "")
        )
        targets.append(off - method.negative_guidance * (on - off))

    def error(latents, time, states, target) -> float:
        return float((model.predict(latents[None], time, states) - target).double().pow(2).mean())

    moved = {n: MOVED * p for n, p in model.pipe.text_encoder.named_parameters() if "embeddings" not in n}
    with model.changed({f"text_encoder.{n}": p for n, p in moved.items()}):
        token = None
        if step >= method.warmup:
            with torch.enable_grad():
                token = method.find_token(model, bank, rows, lambda *given: states_with(model, *given), generator)
        losses = {"plain": [], "attacked": []}
        for i, (place, row) in enumerate(zip(places, rows, strict=True)):
            ids = model.tokenize([TARGETS[row]])
            ways = {"plain": model.encode_tokens(ids)}
            if token is not None:
                ways["attacked"] = states_with(model, ids, token[i : i + 1])
            for way, states in ways.items():
                losses[way].append(error(bank.latents[place, row], bank.times[place], states, targets[i]))
        bank = material.retain
        for place, row in zip(
            *(torch.randint(n, (BATCH,), generator=generator) for n in (STEPS, len(RETAIN))), strict=True
        ):
            states = model.encode([RETAIN[row]])
            kept.append(error(bank.latents[place, row], bank.times[place], states, bank.wanted[place, row]))
    return Expected(*(float(np.mean(errors)) if errors else np.nan for errors in (*losses.values(), kept)))


def test_advunlearn_trains_against_the_token_that_its_attacker_found(model, material, tmp_path, monkeypatch):
    settings = {"warmup": 0, "attack_steps": 3, "attack_lr": 0.1, "negative_guidance": 1.5}
    [seen] = losses_of(model, material, tmp_path, monkeypatch, 1, **settings)
    found = expected(model, material, 0, **settings)
    assert abs(found.attacked - found.plain) > 0.02 * found.plain  # they can be told apart
    assert seen["erase"] == pytest.approx(found.attacked, rel=1e-3)
    assert seen["retain"] == pytest.approx(found.retain, rel=1e-3)  # of prompts without a token before them
    assert seen["loss"] == pytest.approx(found.attacked + 2 * found.retain, rel=1e-3)


def test_the_attacker_of_advunlearn_starts_after_the_warm_up(model, material, tmp_path, monkeypatch):
    settings = {"warmup": 2, "attack_steps": 2, "attack_lr": 0.1}
    for step, seen in enumerate(losses_of(model, material, tmp_path, monkeypatch, 4, **settings)):
        found = expected(model, material, step, **settings)
        assert seen["erase"] == pytest.approx(found.attacked if step >= 2 else found.plain, rel=1e-3)
        assert seen["retain"] == pytest.approx(found.retain, rel=1e-3)
        assert step < 2 or abs(found.attacked - found.plain) > 0.02 * found.plain
