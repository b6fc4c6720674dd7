"""UnlearnDiffAtk's own formula: its loss, and which tokens it is left with."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from attacked import PROMPTS
from excise.attacks import AttackOptions, make_attack
from excise.attacks.unlearndiffatk.simplex_search import SimplexSearch
from excise.images.tokens import frame_tokens


def attack(model, references, folder, steps=20) -> pd.DataFrame:
    options = AttackOptions(steps=steps, options={"tokens": 2, "lr": 0.1, "check_every": 10, "checks": 2})
    return make_attack(options).run(model, PROMPTS, references, options, folder, "test")


def test_the_loss_is_that_of_the_tokens_on_the_fixed_checks(model, references, tmp_path):
    """Second computation: no embeddings are replaced, the tokens are simply read."""
    for i, row in enumerate(attack(model, references, tmp_path).itertuples()):
        generator = torch.Generator().manual_seed((int(PROMPTS["seed"][i]) + 5) * 1_000_003 + 15)
        losses = []
        for time in (100, 900):
            noise = torch.randn(1, 4, 16, 16, generator=generator).double()
            alpha = model.schedule.alphas_cumprod[time].double()
            with torch.no_grad():
                states = model.encode_tokens(frame_tokens(model, [row.token_ids]))
                noisy = alpha.sqrt() * references[i : i + 1] + (1 - alpha).sqrt() * noise
                losses.append(float((model.predict(noisy, torch.tensor(time), states) - noise).pow(2).mean()))
        assert row.loss == pytest.approx(sum(losses) / 2, rel=1e-6)


@pytest.mark.parametrize("steps", [1, 25])
def test_the_best_checked_tokens_are_kept(model, references, tmp_path, monkeypatch, steps):
    checked, remember = [], SimplexSearch._remember

    def spy(self):
        before = self.rows["best"].clone()
        remember(self)
        tokens = self.vocabulary[self.rows["points"].argmax(-1)].tolist()
        checked.append((tokens, torch.where(self.rows["best"] < before, self.rows["best"], torch.inf).tolist()))

    monkeypatch.setattr(SimplexSearch, "_remember", spy)
    table = attack(model, references, tmp_path, steps)
    assert len(checked) == -(-steps // 10)
    for i, row in enumerate(table.itertuples()):
        losses = [c[1][i] for c in checked]
        best = losses.index(min(losses))
        if row.adversarial_ids:
            assert row.loss == losses[best] and row.adversarial_ids == checked[best][0][i]
        else:  # nothing that was checked beats the plain prompt
            assert row.loss <= losses[best]
        assert len(row.adversarial_ids) in (0, 2)
        assert (
            row.token_ids[len(row.adversarial_ids) :] == model.tokenizer(row.prompt, add_special_tokens=False).input_ids
        )
