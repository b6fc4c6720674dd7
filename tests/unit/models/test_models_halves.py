"""Weights as halves: what is computed with them stays in float32, and what is trained too."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from excise.attacks import AttackOptions, make_attack
from excise.attacks.search import Knowledge
from excise.erasers import Eraser, EraserOptions
from excise.erasers.bank import build_bank
from excise.erasers.make import make_erased
from excise.erasers.material import Material, Words
from excise.models.diffusion import DiffusionModel


@pytest.fixture(scope="module")
def model(tiny_spec):
    return DiffusionModel.load(tiny_spec.model_copy(update={"dtype": "bfloat16"}))


@pytest.fixture(scope="module")
def material(model, tmp_path_factory) -> Material:
    folder = tmp_path_factory.mktemp("banks")

    def bank(name, prompts):
        return build_bank(model, prompts, [1, 2], 3, 2.0, folder / f"{name}.safetensors", name)

    words = Words(["man", "guy"], "robot", ["church", "fish"])
    return Material(
        bank("concept", ["a man", "a guy"]), bank("anchor", ["a robot"] * 2), bank("retain", ["a fish"] * 2), words
    )


def test_latents_and_predictions_are_not_halves(model, material):
    states, noise = model.encode(["a man"]), model.initial_noise([1])
    assert states.dtype == torch.bfloat16 and noise.dtype == torch.float32
    assert model.predict(noise, torch.tensor([500]), states).dtype == torch.float32
    assert model.word_vectors(torch.tensor([3])).dtype == torch.float32
    assert {material.concept.latents.dtype, material.concept.wanted.dtype} == {torch.float32}
    assert model.decode(model.sample(states, [1], 2).final).shape == (1, 64, 64, 3)


@pytest.mark.parametrize("name", ["esd", "ac", "uce", "advunlearn"])
def test_erasers_train_and_lift_bit_for_bit(model, material, tmp_path, name):
    options = EraserOptions(method=name, batch=2, steps=8, lr=1e-2)
    before = {n: p.clone() for n, p in model.weights().items()}
    erased = make_erased(model, options, material, 0, tmp_path, name)
    assert erased.weights and {w.dtype for w in erased.weights.values()} == {torch.bfloat16}
    assert all(torch.isfinite(w).all() for w in erased.weights.values())
    with model.wearing(Eraser({"base": {"name": "tiny", "sha256": model.sha256}}, erased.weights, {})):
        assert any(not torch.equal(p, before[n]) for n, p in model.weights().items())
    assert all(torch.equal(p, before[n]) for n, p in model.weights().items())


@pytest.mark.parametrize("rank", [0, 2])
def test_an_attack_on_the_weights_trains_in_full_precision(model, material, tmp_path, rank):
    """Small steps are lost on weights of halves: the eraser would look robust."""
    prompts = pd.DataFrame({"prompt_id": ["a"], "prompt": ["a man"], "seed": [1]})
    own = {"pictures": "concept", "rank": rank, "lr": 1e-6}
    options = AttackOptions(method="finetuning", steps=4, batch=2, options=own)
    clean = material.concept.final
    known = Knowledge([], [], clean, ["a fish"] * 2, clean, ["a man", "a guy"])
    table = make_attack(options).run(model, prompts, clean[:1], options, tmp_path, "t", known)
    values = load_file(table["weights"].iloc[0])
    moved = [(v.float() != model.denoiser.get_parameter(n).float()).float().mean().item() for n, v in values.items()]
    assert {v.dtype for v in values.values()} == {torch.float32} and sum(moved) / len(moved) > 0.5


@pytest.mark.parametrize("name", ["unlearndiffatk", "textual_inversion"])
def test_attacks_search_in_full_precision(model, material, tmp_path, name):
    prompts = pd.DataFrame({"prompt_id": ["a", "b"], "prompt": ["a man", "a guy"], "seed": [1, 2]})
    options = AttackOptions(method=name, steps=3, batch=2)
    pictures = material.concept.final
    known = Knowledge(concept=pictures, concept_prompts=["a woman"] * len(pictures))
    table = make_attack(options).run(model, prompts, pictures, options, tmp_path, "test", known, None)
    assert (table["dropped"] == "").all() and table["loss"].notna().all()
