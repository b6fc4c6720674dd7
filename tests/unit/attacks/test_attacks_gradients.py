"""White-box token attacks go down the slope of their loss: the gradient against differences, the step against the rule.

Second computation: words are written over the text encoder's own embeddings by a hook, and the loss is differenced.
"""

from __future__ import annotations

import pytest
import torch

from attacked import PROMPTS
from excise.attacks import AttackOptions, make_attack
from excise.attacks.search import Case, Knowledge, nearest
from excise.attacks.search.simplex import project_to_simplex
from excise.attacks.search.slots import Slots
from excise.attacks.unlearndiffatk import simplex_search
from excise.images.tokens import frame_tokens

TOKENS, LR, DECAY, STEP = 3, 0.05, 0.1, 1e-4
# attack -> module of its search, and what it moves
WAYS = {"unlearndiffatk": (simplex_search, "points"), "pez": (nearest, "vectors"), "p4d": (nearest, "vectors")}


def one_step(way, model, references, monkeypatch):
    """A first step: the search after it, its rows before it, and what it asked the model."""
    module, _ = WAYS[way]
    options = AttackOptions(
        method=way, steps=9, options={"tokens": TOKENS, "lr": LR, "weight_decay": DECAY, "checks": 1, "check_every": 9}
    )
    contents = model.tokenizer(PROMPTS["prompt"].tolist(), add_special_tokens=False).input_ids
    search = make_attack(options).start(Case(model, PROMPTS, contents, references, options, Knowledge()))
    search.arrange()
    search.begin()
    before, seen = {k: v.clone() for k, v in search.rows.items()}, {}
    adam, errors, states = module.adam_step, module.noise_errors, Slots.states

    def watched_adam(rows, name, gradient, *rest):
        seen["gradient"] = gradient.clone()
        adam(rows, name, gradient, *rest)

    def watched_errors(model, states, clean, noise, time, target=None):
        seen.update(noise=noise, time=time, target=target)
        return errors(model, states, clean, noise, time, target)

    def watched_states(slots, vectors):
        seen.update(words=vectors.detach().clone(), ids=slots.ids)
        return states(slots, vectors)

    monkeypatch.setattr(module, "adam_step", watched_adam)
    monkeypatch.setattr(module, "noise_errors", watched_errors)
    monkeypatch.setattr(Slots, "states", watched_states)
    search.advance()
    return search, before, seen


@torch.no_grad()
def loss_of(model, references, words, seen, row) -> float:
    """The error of one prompt with other words in its first places."""

    def write(module, inputs, output):
        output = output.clone()
        output[0, 1 : 1 + TOKENS] = words[row]
        return output

    handle = model.pipe.text_encoder.get_input_embeddings().register_forward_hook(write)
    try:
        states = model.pipe.text_encoder(seen["ids"][row : row + 1]).last_hidden_state
    finally:
        handle.remove()
    alpha = model.schedule.alphas_cumprod[seen["time"]].double()
    noise = seen["noise"][row : row + 1]
    noisy = alpha.sqrt() * references[row : row + 1] + (1 - alpha).sqrt() * noise
    wanted = noise if seen["target"] is None else seen["target"][row : row + 1]
    return float((model.predict(noisy, torch.tensor(seen["time"]), states) - wanted).square().mean())


@pytest.mark.parametrize("way", WAYS)
def test_the_gradient_is_the_slope_of_the_loss(model, references, eraser, monkeypatch, way):
    with model.wearing(eraser):
        search, _, seen = one_step(way, model, references, monkeypatch)
        table = model.word_vectors().double()
        other = torch.randn(table.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        for row, place, token in ((0, 0, 5), (0, 2, 40), (1, 1, 7)):
            towards = table[search.vocabulary[token]] if way == "unlearndiffatk" else other
            shift = torch.zeros_like(seen["words"])
            shift[row, place] = STEP * towards
            up, down = (loss_of(model, references, seen["words"] + s, seen, row) for s in (shift, -shift))
            told = seen["gradient"][row, place]
            # a token's share of a place moves the place by the token's vector; a vector moves by itself
            found = float(told[token] if way == "unlearndiffatk" else told @ other)
            assert abs(found) > 1e-9
            assert found == pytest.approx((up - down) / (2 * STEP), rel=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_a_first_step_goes_against_the_gradient(model, references, eraser, monkeypatch, way):
    """Adam's first step is lr against the gradient's sign, but for its epsilon; UnlearnDiffAtk then projects."""
    with model.wearing(eraser):
        search, before, seen = one_step(way, model, references, monkeypatch)
    name = WAYS[way][1]
    moved = before[name] * (1 - LR * DECAY) - LR * seen["gradient"] / (seen["gradient"].abs() + 1e-8)
    wanted = project_to_simplex(moved) if way == "unlearndiffatk" else moved
    torch.testing.assert_close(search.rows[name], wanted, rtol=1e-6, atol=1e-9)
    assert not torch.allclose(search.rows[name], before[name])


def test_the_words_of_the_second_computation_are_those_that_are_read(model, references):
    """Without other words the hook changes nothing: what it says of the text is what the model says."""
    content = model.tokenizer("an old man", add_special_tokens=False).input_ids
    ids = frame_tokens(model, [[9, 8, 7, *content]])
    seen = {"ids": ids, "time": 500, "noise": torch.randn_like(references), "target": None}
    words = model.word_vectors(ids[:, 1 : 1 + TOKENS]).detach()
    with torch.no_grad():
        noisy = model.add_noise(references[:1], seen["noise"][:1], torch.tensor([500]))
        said = model.predict(noisy, torch.tensor(500), model.encode_tokens(ids))
    expected = float((said - seen["noise"][:1]).square().mean())
    assert loss_of(model, references, words, seen, 0) == pytest.approx(expected, rel=1e-9)
