"""Sampling that starts from a given latent."""

from __future__ import annotations

import pytest
import torch

from excise.errors import UserError
from excise.models.diffusion import DiffusionModel


@pytest.fixture(scope="module")
def model(tiny_spec):
    return DiffusionModel.load(tiny_spec)


def test_starting_from_the_seed_s_own_noise_changes_nothing(model):
    states, seeds = model.encode(["a cat", "a man"]), [3, 4]
    plain = model.sample(states, seeds, steps=4)
    given = model.sample(states, [8, 9], steps=4, start=model.initial_noise(seeds))
    assert torch.equal(plain.final, given.final) and torch.equal(plain.times, given.times)


def test_a_weak_start_makes_the_last_steps_alone(model):
    states, clean = (
        model.encode(["a cat"]),
        torch.randn(1, *model.latent_shape, generator=torch.Generator().manual_seed(0)),
    )
    whole = model.sample(states, [3], steps=10)
    path = model.sample(states, [3], steps=10, start=clean, strength=0.3, keep=True)
    assert torch.equal(path.times, whole.times[7:]) and len(path.latents) == 3
    expected = model.add_noise(clean, model.initial_noise([3]), path.times[0])
    torch.testing.assert_close(path.latents[0], expected)
    other = model.sample(states, [4], steps=10, start=clean, strength=0.3)
    assert not torch.equal(other.final, path.final)  # a fresh seed is fresh noise


def test_a_strength_that_leaves_no_step_is_refused(model):
    with pytest.raises(UserError, match="leaves none of 4 sampling steps"):
        model.sample(model.encode(["a cat"]), [3], steps=4, start=model.initial_noise([3]), strength=0.1)
