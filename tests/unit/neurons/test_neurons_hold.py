"""Neurons held at a value are constant, by weights as by hooks; the ranking is a sum that can be done by hand."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch
from torch import nn

from architectures import ARCHITECTURES, PIXELS, make_architecture
from excise.erasers import Eraser
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.neurons import FFN, collect_activations, find_units
from excise.neurons.holding import carriers, concept_signal, held, others

CONCEPT, TWINS = ["a man", "an old man", "a guy"], ["a robot", "an old robot", "a fish"]


def measured(model: DiffusionModel) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(2, 3, *model.latent_shape, generator=generator)
    times = torch.tensor([700, 200])
    units = find_units(model.denoiser, True)
    return collect_activations(model, units, model.encode(CONCEPT), model.encode(TWINS), times, latents)


def predict(model: DiffusionModel) -> torch.Tensor:
    latents = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.predict(latents, torch.tensor(500), model.encode(["a man", "a fish"]))


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request, tmp_path_factory) -> DiffusionModel:
    """Biases of these small models are zero at the start, which would hide one that is lost."""
    folder = make_architecture(request.param, tmp_path_factory.mktemp("model") / request.param)
    spec = ModelSpec(name=request.param, path=str(folder), device="cpu", pixels=PIXELS[request.param])
    made = DiffusionModel.load(spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in made.denoiser.named_parameters():
            if name.endswith(".bias"):
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return made


def test_held_weights_equal_neurons_that_are_set(model):
    """Second way: hooks that overwrite the neurons while the model runs."""
    denoiser, seen = model.denoiser, measured(model)
    units = find_units(denoiser, True)
    chosen = carriers(units, seen, 0.3, denoiser)

    def put(x: torch.Tensor, name: str) -> torch.Tensor:
        x = x.clone()
        x[..., chosen[name]] = seen[f"{name}/b/mean"][0, chosen[name]].to(x)
        return x

    def hook(stack: ExitStack, unit) -> None:
        module: nn.Module = denoiser.get_submodule(unit.name)
        if unit.kind == FFN:
            handle = module.register_forward_pre_hook(lambda m, a: (put(a[0], unit.name), *a[1:]))
        else:
            handle = module.register_forward_hook(lambda m, a, out: put(out, unit.name))
        stack.callback(handle.remove)

    before = predict(model)
    with ExitStack() as stack:
        for unit in units:
            hook(stack, unit)
        expected = predict(model)
    weights, pruned = held(units, chosen, seen, denoiser)
    with model.wearing(Eraser({"base": {"name": "small", "sha256": model.sha256}}, weights, pruned)):
        torch.testing.assert_close(predict(model), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(predict(model), before)
    assert not torch.allclose(before, expected, atol=1e-3)


def test_the_carriers_are_those_that_tell_most(model):
    seen, denoiser = measured(model), model.denoiser
    for unit in find_units(denoiser, True):
        home = unit.name.rpartition(".")[0]
        behind = [unit.name] if unit.kind == FFN else [f"{home}.to_out.0", f"{home}.to_add_out"]
        there = dict(denoiser.named_modules())
        reads = torch.cat([there[name].weight.detach() for name in behind if name in there])
        contrast = (seen[f"{unit.name}/a/mean"] - seen[f"{unit.name}/b/mean"])[0]
        told = [abs(float(contrast[k])) * float(reads[:, k].double().pow(2).sum().sqrt()) for k in range(unit.width)]
        torch.testing.assert_close(
            concept_signal(seen, unit, denoiser), torch.tensor(told).double(), rtol=1e-4, atol=1e-7
        )
        best = sorted(range(unit.width), key=lambda k: -told[k])[: max(1, round(0.25 * unit.width))]
        assert carriers([unit], seen, 0.25, denoiser)[unit.name].tolist() == sorted(best)


def test_others_are_as_many_and_none_of_them(model):
    units = find_units(model.denoiser, True)
    chosen = carriers(units, measured(model), 0.4, model.denoiser)
    first, again, second = (others(chosen, units, seed) for seed in (1, 1, 2))
    for unit in units:
        drawn = first[unit.name].tolist()
        assert len(set(drawn)) == len(chosen[unit.name]) and max(drawn) < unit.width
        assert not set(drawn) & set(chosen[unit.name].tolist()) and drawn == again[unit.name].tolist()
    assert any(first[u.name].tolist() != second[u.name].tolist() for u in units)


def test_a_layer_without_a_bias_is_refused(tiny_model):
    seen, units = measured(tiny_model), find_units(tiny_model.denoiser)
    tiny_model.denoiser.get_submodule(units[0].name).bias = None
    with pytest.raises(ValueError, match="no bias"):
        held(units, carriers(units, seen, 0.1, tiny_model.denoiser), seen, tiny_model.denoiser)
