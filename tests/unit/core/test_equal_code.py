"""What is said to change no result: it is in the code, counts as what it replaced, and computes the same bits."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

import pytest
import torch

from excise.attacks import AttackOptions
from excise.cache import Cache, bare_source, code_fingerprint, fingerprint
from excise.equal_code import EQUAL, EQUAL_FROM_SIX, as_before
from excise.erasers import EraserOptions

SOURCES = [p for p in (Path(__file__).parents[3] / "src/excise").rglob("*.py") if p.name != "equal_code.py"]


@pytest.mark.parametrize(("now", "before"), [*EQUAL, *EQUAL_FROM_SIX])
def test_a_pair_is_of_one_place_and_the_new_code_counts_as_the_old(now, before):
    texts = [path.read_text() for path in SOURCES]
    assert sum(text.count(now) for text in texts) == 1, "an entry whose code is gone keeps nothing: take it out"
    assert sum(text.count(before) for text in texts) == 0
    [new] = [text for text in texts if now in text]
    old = new.replace(now, before)
    assert as_before(new) == old and bare_source(new) == bare_source(old)
    for changed in spoilt(now):  # and nothing else counts as the old one
        assert bare_source(new) != bare_source(new.replace(now, changed)), changed


def spoilt(code: str) -> list[str]:
    """A piece of code with each of its names and numbers changed, one after the other."""
    found = sorted(set(re.findall(r"\w+", re.sub("#.*", "", code))) - set(keyword.kwlist))
    assert found
    return [re.sub(rf"\b{one}\b", f"1{one}" if one.isdigit() else f"{one}1", code) for one in found]


@pytest.mark.parametrize(("now", "before"), EQUAL_FROM_SIX)
def test_what_was_wrong_with_few_rows_is_not_taken_for_the_new_code(now, before):
    [new] = [text for text in (path.read_text() for path in SOURCES) if now in text]
    assert bare_source(new, few=True) != bare_source(new.replace(now, before), few=True)


@pytest.mark.parametrize("batch", [1, 2, 5, 6, 16])
def test_work_with_fewer_than_six_rows_a_step_is_made_anew(tmp_path, batch):
    code, inputs = ("excise.erasers", "excise.models"), {"options": EraserOptions(batch=batch), "seed": 1}
    before = f"eraser-{fingerprint({'inputs': inputs, 'code': code_fingerprint(*code)})}"
    assert (Cache(tmp_path).folder("eraser", code, **inputs).name == before) == (batch >= 6)


def test_other_work_with_few_rows_stays(tmp_path):
    """A batch of an attack's is another thing."""
    code = ("excise.erasers",)
    for inputs in ({"options": AttackOptions(batch=2)}, {"steps": 3}):
        before = f"attack-{fingerprint({'inputs': inputs, 'code': code_fingerprint(*code)})}"
        assert Cache(tmp_path).folder("attack", code, **inputs).name == before


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
