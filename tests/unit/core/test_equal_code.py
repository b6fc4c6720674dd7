"""What is said to change no result: it is in the code, counts as what it replaced, and computes the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from excise.cache import bare_source
from excise.equal_code import EQUAL, as_before

SOURCES = [p for p in (Path(__file__).parents[3] / "src/excise").rglob("*.py") if p.name != "equal_code.py"]


@pytest.mark.parametrize(("now", "before"), EQUAL)
def test_a_pair_is_of_one_place_and_the_new_code_counts_as_the_old(now, before):
    texts = [path.read_text() for path in SOURCES]
    assert sum(text.count(now) for text in texts) == 1, "an entry whose code is gone keeps nothing: take it out"
    assert sum(text.count(before) for text in texts) == 0
    [new] = [text for text in texts if now in text]
    old = new.replace(now, before)
    assert as_before(new) == old and bare_source(new) == bare_source(old)
    assert bare_source(new) != bare_source(new.replace(now, now.replace("value", "other")))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_prediction_with_other_weights_has_the_same_bits(tiny_model, dtype):
    """Cast weight by weight, as before; with gradients."""
    model = tiny_model
    generator = torch.Generator().manual_seed(0)
    names = [n for n, _ in model.denoiser.named_parameters() if "attn2.to_" in n]
    given = {n: torch.randn(model.denoiser.get_parameter(n).shape, generator=generator).to(dtype) for n in names}
    latents, states = model.initial_noise([0, 1]), model.encode(["a cat", "a dog"])
    now = {n: v.clone().requires_grad_(True) for n, v in given.items()}
    said = model.predict(latents, torch.tensor(300), states, now)
    said.pow(2).mean().backward()
    then = {n: v.clone().requires_grad_(True) for n, v in given.items()}
    arguments = model.family.arguments(latents.to(model.dtype), torch.tensor(300), states.to(model.dtype))
    cast = {name: value.to(model.dtype) for name, value in then.items()}
    by_hand = torch.func.functional_call(model.denoiser, cast, (), arguments)
    by_hand = model.family.prediction(by_hand, latents).to(model.precision)
    by_hand.pow(2).mean().backward()
    assert torch.equal(said, by_hand)
    assert all(torch.equal(now[n].grad, then[n].grad) for n in names)
