"""P4D and PEZ: which of the tokens that they met they return. Chosen by what is the same for all, and not by luck."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from attacked import PROMPTS
from excise.attacks import AttackOptions, make_attack
from excise.attacks.search.nearest import NearestSearch
from excise.images.tokens import frame_tokens

WAYS = ["pez", "p4d"]


def attack(way, model, eraser, references, folder, steps=25) -> pd.DataFrame:
    """Words that move far in few steps: every check meets other tokens."""
    options = {"tokens": 3, "lr": 1.0, "check_every": 5, "checks": 2}
    budget = AttackOptions(method=way, steps=steps, options=options)
    with model.wearing(eraser):
        return make_attack(budget).run(model, PROMPTS, references, budget, folder, "test")


def fixed_loss(way, model, eraser, references, token_ids) -> list[float]:
    """Second computation, one prompt after the other: the tokens are read, and scored on the same two pairs."""
    found = []
    for i, ids in enumerate(token_ids):
        generator, losses = torch.Generator().manual_seed((int(PROMPTS["seed"][i]) + 5) * 1_000_003 + 15), []
        for time in (100, 900):
            noise = torch.randn(1, *references.shape[1:], generator=generator).double()
            alpha, t = model.schedule.alphas_cumprod[time].double(), torch.tensor(time)
            noisy = alpha.sqrt() * references[i : i + 1] + (1 - alpha).sqrt() * noise
            with torch.no_grad():
                goal = noise if way == "pez" else model.predict(noisy, t, model.encode([PROMPTS["prompt"][i]]))
                with model.wearing(eraser):
                    said = model.predict(noisy, t, model.encode_tokens(frame_tokens(model, [ids])))
            losses.append(float((said - goal).pow(2).mean()))
        found.append(sum(losses) / 2)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_the_loss_is_that_of_the_tokens_on_the_fixed_pairs(model, eraser, references, tmp_path, way):
    table = attack(way, model, eraser, references, tmp_path)
    expected = fixed_loss(way, model, eraser, references, table["token_ids"])
    assert table["loss"].tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_no_tokens_that_were_scored_are_better(model, eraser, references, tmp_path, monkeypatch, way):
    met, remember = [], NearestSearch._remember

    def spy(self):
        remember(self)
        met.append([c.token_ids for c in self.candidates()])

    monkeypatch.setattr(NearestSearch, "_remember", spy)
    table = attack(way, model, eraser, references, tmp_path)
    scores = [fixed_loss(way, model, eraser, references, ids) for ids in met]
    assert len(met) == 5 and len({str(m) for m in met}) > 1
    for i in range(len(PROMPTS)):
        each = [score[i] for score in scores]
        assert table["loss"][i] == pytest.approx(min(each), rel=1e-6)
        assert table["token_ids"][i] == met[each.index(min(each))][i]
