"""SalUn: what is salient, and what it holds on to, against computations row by row."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from excise.erasers import EraserOptions, make_method
from excise.erasers.finetune import erasure_loss
from excise.models.layers import parameter_names
from material import RETAIN, STEPS, TARGETS

pytestmark = pytest.mark.usefixtures("base_model_is_untouched")


def noisy(model, clean: torch.Tensor, time: int, noise: torch.Tensor) -> torch.Tensor:
    """√ᾱ x_0 + √(1 − ᾱ) ε of one picture, (1, c, h, w)."""
    alpha = float(model.schedule.alphas_cumprod[time])
    return (alpha**0.5 * clean + (1 - alpha) ** 0.5 * noise)[None]


def draws(model, generator: torch.Generator, pictures: int, count: int) -> tuple[list[int], list[int], torch.Tensor]:
    """Which pictures, at which times, and their noise."""
    rows = torch.randint(pictures, (count,), generator=generator).tolist()
    times = torch.randint(1000, (count,), generator=generator).tolist()
    return rows, times, torch.randn(count, *model.latent_shape, generator=generator)


def test_salient_weights_are_those_of_the_guided_noise_loss(model, material):
    """The gradient of mean ‖ε(∅) + g (ε(c) − ε(∅)) − ε‖², summed over batches, one picture after the other."""
    share, guidance, batches, batch = 0.3, 4.0, 3, 2
    settings = {"share": share, "guidance": guidance, "batches": batches, "batch": batch}
    names = parameter_names(model.denoiser, "full")
    salient = make_method(EraserOptions(method="salun", options=settings)).salient(model, material, names)
    unet = copy.deepcopy(model.denoiser).requires_grad_(True)
    generator = torch.Generator().manual_seed(0)
    for _ in range(batches):
        for row, time, noise in zip(*draws(model, generator, len(TARGETS), batch), strict=True):
            x = noisy(model, material.concept.final[row], time, noise)
            without, wanted = (unet(x, time, model.encode([p])).sample for p in ("", TARGETS[row]))
            guided = (1 - guidance) * without + guidance * wanted
            ((guided - noise[None]).pow(2).mean() / batch).backward()
    sizes = np.concatenate([unet.get_parameter(n).grad.abs().numpy().ravel() for n in names])
    expected = np.zeros(len(sizes), bool)
    expected[np.argsort(-sizes)[: round(share * len(sizes))]] = True
    found = np.concatenate([salient[n].numpy().ravel() for n in names])
    assert list(salient) == names and found.sum() == expected.sum()
    assert (found != expected).mean() < 1e-3  # sums in another order: near the threshold an entry or two


def test_salun_holds_on_to_the_noise_in_retain_pictures_on_their_own_words(model, material):
    kept = make_method(EraserOptions(method="salun")).keep(model, material, 7, torch.Generator().manual_seed(5))
    rows, times, noise = draws(model, torch.Generator().manual_seed(5), len(RETAIN), 7)
    assert kept.times.tolist() == times and len(set(rows)) > 2
    assert torch.equal(kept.target, noise)
    for i, (row, time) in enumerate(zip(rows, times, strict=True)):
        x = noisy(model, material.retain.final[row], time, kept.target[i])
        torch.testing.assert_close(kept.latents[i], x[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(kept.states[i], model.encode([RETAIN[row]])[0])


def test_the_retain_loss_of_salun_equals_a_computation_row_by_row(model, material):
    n = 5
    losses = erasure_loss(model, make_method(EraserOptions(method="salun")), n, 1.0, material, seed=2)(7, {})
    generator = torch.Generator().manual_seed(2 * 1_000_003 + 7)
    torch.randint(STEPS, (n,), generator=generator)
    draws(model, generator, len(TARGETS), n)  # of the concept's pictures
    errors = []
    with torch.no_grad():
        for row, time, noise in zip(*draws(model, generator, len(RETAIN), n), strict=True):
            x = noisy(model, material.retain.final[row], time, noise)
            said = model.denoiser(x, time, model.encode([RETAIN[row]])).sample[0]
            errors.append(float((said - noise).double().pow(2).mean()))
    assert float(losses["retain"]) == pytest.approx(np.mean(errors), rel=1e-5)
