"""Attacks on the weights: what each changes, against a second computation, and that the model gets its weights back."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from excise.attacks import AttackOptions, make_attack
from excise.attacks.quantising.attack import Quantising
from excise.attacks.search import Knowledge
from excise.erasers import Eraser
from excise.errors import UserError
from excise.models.diffusion import DiffusionModel

PROMPTS = pd.DataFrame({"prompt_id": ["one", "two"], "prompt": ["an old man", "a woman"], "seed": [1, 2]})
NAMES = [f"down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_{k}.weight" for k in ("k", "v")]


@pytest.fixture(scope="module")
def model(tiny_spec):
    return DiffusionModel.load(tiny_spec)


@pytest.fixture(scope="module")
def references(model):
    return model.sample(model.encode(PROMPTS["prompt"].tolist()), [1, 2], steps=3).final


@pytest.fixture
def eraser(model):
    """New values for one matrix, and zeros in another."""
    first, second = (model.denoiser.get_parameter(name).detach() for name in NAMES)
    pruned = torch.zeros_like(second, dtype=torch.bool)
    pruned[::3, ::2] = True
    return Eraser({"base": {"name": "tiny", "sha256": model.sha256}}, {NAMES[0]: first * 0.5}, {NAMES[1]: pruned})


@pytest.fixture(autouse=True)
def model_is_untouched(model):
    before = {k: v.clone() for k, v in model.weights().items()}
    yield
    assert all(torch.equal(v, before[k]) for k, v in model.weights().items())


FIT = ["a guy", "an old woman"]


def changed(model, eraser, references, folder, method, steps=3, prompts=PROMPTS, **options):
    """The table and the new weights; pictures of the concept are ``references``, with the fit prompts."""
    how = AttackOptions(method=method, steps=steps, batch=2, options=options)
    known = Knowledge([], [], references.flip(0), ["a chair", "a cat"], references, FIT)
    with model.wearing(eraser):
        table = make_attack(how).run(model, prompts, torch.zeros_like(references), how, folder, "test", known)
    [file] = set(table["weights"])
    return table, load_file(file)


def test_merging_is_the_mean_of_what_differs(model, eraser, references, tmp_path):
    base = {name: model.denoiser.get_parameter(name).clone() for name in NAMES}
    _, values = changed(model, eraser, references, tmp_path, "merging", share=0.25)
    assert set(values) == set(NAMES)
    torch.testing.assert_close(values[NAMES[0]], base[NAMES[0]] * (0.75 * 0.5 + 0.25))
    expected = torch.where(eraser.pruned[NAMES[1]], 0.25 * base[NAMES[1]], base[NAMES[1]])
    torch.testing.assert_close(values[NAMES[1]], expected)
    _, all_of_it = changed(model, eraser, references, tmp_path / "all", "merging", share=1.0)
    assert all(torch.equal(all_of_it[name], base[name]) for name in NAMES)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_rounded_weights_lie_on_a_grid_near_the_old_ones(model, eraser, references, tmp_path, bits):
    _, values = changed(model, eraser, references, tmp_path, "quantising", bits=bits)
    with model.wearing(eraser):
        for name in NAMES:
            old, new = model.denoiser.get_parameter(name).detach(), values[name]
            for row, rounded in zip(old, new, strict=True):
                step = float(row.abs().max()) / (2 ** (bits - 1) - 1)
                assert len(set(rounded.tolist())) <= 2**bits - 1
                assert float((row - rounded).abs().max()) <= step / 2 + 1e-7
    assert all(v.ndim > 1 for v in values.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_pruned_channels_stay_zero_in_every_precision(dtype):
    weight = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    weight[1] = 0
    rounded = Quantising(bits=4).rounded(weight)
    assert rounded.dtype == dtype and bool(rounded.isfinite().all()) and bool((rounded[1] == 0).all())
    torch.testing.assert_close(rounded, Quantising(bits=4).rounded(weight.double()).to(dtype))


def test_revival_fills_the_zeros_and_touches_nothing_else(model, eraser, references, tmp_path):
    _, values = changed(model, eraser, references, tmp_path, "revival", steps=5, rank=0.2)
    gone, base = eraser.pruned[NAMES[1]], model.denoiser.get_parameter(NAMES[1]).detach()
    assert set(values) == {NAMES[1]}
    assert torch.equal(values[NAMES[1]][~gone], base[~gone]) and bool((values[NAMES[1]][gone] != 0).all())


def test_revival_finds_the_entries_of_a_low_rank_matrix_again(tmp_path):
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(24, 2, generator=generator) @ torch.randn(2, 20, generator=generator)
    missing = torch.rand(24, 20, generator=generator) < 0.1
    attack = make_attack(AttackOptions(method="revival", options={"rank": 0.1}))
    again = attack.completed(whole.masked_fill(missing, 0), missing, 300)
    torch.testing.assert_close(again, whole, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("options", [{}, {"rank": 2}, {"pictures": "concept", "lr": 1e-3}])
def test_finetuning_trains_what_it_says_on_the_erased_model(model, eraser, references, tmp_path, options):
    table, values = changed(model, eraser, references, tmp_path, "finetuning", **options)
    again = changed(model, eraser, references, tmp_path / "again", "finetuning", **options)[1]
    assert all(torch.equal(values[k], again[k]) for k in values)
    with model.wearing(eraser):
        worn = {k: v.clone() for k, v in model.weights().items()}
    moved = {k for k, v in values.items() if not torch.equal(v, worn[k])}
    if options.get("rank"):
        assert moved and all(".attn" in k for k in values)
        assert all(int(torch.linalg.matrix_rank((values[k] - worn[k]).double(), rtol=1e-3)) <= 2 for k in moved)
    else:
        assert len(moved) > 0.9 * len(values) and len(values) == len(dict(model.denoiser.named_parameters()))
    assert table["gradient_steps"].tolist() == [3, 3] and set(table["threat_model"]) == {"weights"}


def test_finetuning_lowers_the_loss_on_its_pictures(model, eraser, references, tmp_path):
    _, values = changed(model, eraser, references, tmp_path, "finetuning", 40, pictures="concept", lr=3e-3)
    states, losses = model.encode(FIT), []
    with model.wearing(eraser), torch.no_grad():
        for weights in ({}, values):
            with model.changed(weights):
                errors = []
                for time in range(50, 1000, 50):
                    noise = torch.randn(references.shape, generator=torch.Generator().manual_seed(time))
                    times = torch.full((2,), time)
                    predicted = model.predict(model.add_noise(references, noise, times), times, states)
                    errors.append(float((predicted - noise).square().mean()))
                losses.append(sum(errors))
    assert losses[1] < losses[0]


def test_relearning_sees_nothing_of_the_prompts_that_are_asked(model, eraser, references, tmp_path):
    how = {"pictures": "concept", "lr": 1e-3}
    others = PROMPTS.assign(prompt=["a church", "a cat"])
    first = changed(model, eraser, references, tmp_path / "a", "finetuning", **how)[1]
    second = changed(model, eraser, references, tmp_path / "b", "finetuning", prompts=others, **how)[1]
    third = changed(model, eraser, references.flip(0), tmp_path / "c", "finetuning", **how)[1]
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not all(torch.equal(first[k], third[k]) for k in first)


@pytest.mark.parametrize("pictures", ["harmless", "concept"])
def test_pictures_to_train_on_must_be_given(model, references, tmp_path, pictures):
    how = AttackOptions(method="finetuning", steps=1, options={"pictures": pictures})
    with pytest.raises(UserError, match="needs some"):
        make_attack(how).run(model, PROMPTS, references, how, tmp_path, "test")


def test_bare_shows_the_base_model_below_an_eraser(model, eraser):
    before = {k: v.clone() for k, v in model.weights().items()}
    with model.wearing(eraser):
        worn = {k: v.clone() for k, v in model.weights().items()}
        with model.bare():
            assert all(torch.equal(v, before[k]) for k, v in model.weights().items())
        assert all(torch.equal(v, worn[k]) for k, v in model.weights().items())
        assert not torch.equal(worn[NAMES[0]], before[NAMES[0]])
    with model.bare():  # nothing is worn: nothing to take off
        assert all(torch.equal(v, before[k]) for k, v in model.weights().items())
