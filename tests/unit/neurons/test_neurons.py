import numpy as np
import pandas as pd
import torch

from excise.models.layers import feed_forwards
from excise.neurons import (
    Moments,
    collect_activations,
    concept_correlation,
    find_units,
    neuron_table,
    reactivation,
    record_units,
    sensitivity,
)
from excise.neurons.units import FFN, Unit, outgoing_norms


def setup(model, n=6, steps=3):
    prompts = ["a church", "a fish", "an old man", "a woman", "a guy", "a rose on red"][:n]
    twins = ["a house"] * n
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(steps, n, 4, 16, 16, generator=generator)
    times = torch.tensor([900, 500, 100])[:steps]
    return model.encode(prompts), model.encode(twins), times, latents


def test_streaming_equals_two_passes_in_any_split():
    samples = torch.randn(50, 7, dtype=torch.float64) * 3 + 100
    whole, merged = Moments.zeros(7).update(samples), Moments.zeros(7)
    for part in samples.split([1, 20, 0, 29]):
        merged.merge(Moments.zeros(7).update(part))
    for moments in (whole, merged):
        torch.testing.assert_close(moments.mean, samples.mean(0))
        torch.testing.assert_close(moments.variance, samples.var(0))


def test_recorded_units_are_the_post_activation_hidden_units(tiny_model):
    """Second computation: the GEGLU by hand from the block's own input."""
    units = find_units(tiny_model.denoiser, values=True)
    layer = feed_forwards(tiny_model.denoiser)[0]
    modules = dict(tiny_model.denoiser.named_modules())
    inputs = []
    hook = modules[layer.name].register_forward_pre_hook(lambda m, a: inputs.append(a[0]))
    states, _, times, latents = setup(tiny_model)
    with record_units(tiny_model.denoiser, units) as seen, torch.no_grad():
        tiny_model.predict(latents[0], times[0], states)
        value, gate = modules[layer.up](inputs[0]).chunk(2, -1)
    hook.remove()
    torch.testing.assert_close(seen[layer.down], (value * torch.nn.functional.gelu(gate)).mean(1))
    assert all(seen[u.name].shape == (6, u.width) for u in units)
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in modules.values())


def test_moments_equal_a_direct_computation_whatever_the_batch(tiny_model):
    units = find_units(tiny_model.denoiser)
    first, second, times, latents = setup(tiny_model)
    whole = collect_activations(tiny_model, units, first, second, times, latents, bins=1)
    parts = collect_activations(tiny_model, units, first, second, times, latents, bins=1, batch=2)
    unit = units[0].name
    rows = []
    for states in (first, second):
        per_step = []
        for step, time in enumerate(times):
            with record_units(tiny_model.denoiser, units) as seen, torch.no_grad():
                tiny_model.predict(latents[step], time, states)
                per_step.append(seen[unit].double())
        rows.append(torch.stack(per_step).mean(0))
    difference = rows[0] - rows[1]
    expected = difference.mean(0) / difference.std(0)
    for activations in (whole, parts):
        torch.testing.assert_close(concept_correlation(activations, unit)[0], expected, rtol=1e-3, atol=1e-3)
    scale = (torch.cat(rows).pow(2).mean(0)).sqrt()
    torch.testing.assert_close(sensitivity(whole, unit)[0], difference.abs().mean(0) / scale, rtol=1e-4, atol=1e-5)


def test_bins_cut_the_timesteps(tiny_model):
    units = find_units(tiny_model.denoiser)
    first, second, times, latents = setup(tiny_model)
    three = collect_activations(tiny_model, units, first, second, times, latents, bins=3)
    one = collect_activations(tiny_model, units, first, second, times, latents, bins=1)
    key = f"{units[0].name}/a/mean"
    assert three[key].shape[0] == 3
    torch.testing.assert_close(three[key].mean(0), one[key][0])


def table_and_activations(model):
    units = find_units(model.denoiser)
    first, second, times, latents = setup(model)
    concept = collect_activations(model, units, first, second, times, latents)
    return units, concept, neuron_table(units, concept, concept, top=0.25)


def test_table_has_a_row_a_neuron_and_the_top_of_each_layer(tiny_model):
    units, _, table = table_and_activations(tiny_model)
    assert len(table) == sum(u.width for u in units)
    for unit in units:
        rows = table[table["layer"] == unit.name]
        chosen, rest = rows[rows["correlated"]], rows[~rows["correlated"]]
        assert len(chosen) == round(0.25 * unit.width)
        assert chosen["correlation"].abs().min() >= rest["correlation"].abs().max()


def test_reactivation_is_one_for_the_base_model_and_zero_for_silence(tiny_model):
    units, concept, table = table_and_activations(tiny_model)
    norms = {u.name: outgoing_norms(tiny_model.denoiser, u) for u in units}
    assert abs(reactivation(table, concept, concept, norms, norms) - 1) < 1e-9
    silent = {k: torch.zeros_like(v) if k != "count" else v for k, v in concept.items()}
    assert reactivation(table, concept, silent, norms, norms) == 0
    half = {k: v / 2 for k, v in norms.items()}  # pruned outputs count
    assert abs(reactivation(table, concept, concept, norms, half) - 0.5) < 1e-6
    assert isinstance(table, pd.DataFrame)


def paired(first: np.ndarray, second: np.ndarray, unit: str) -> dict[str, torch.Tensor]:
    """Moments of hand-made activations, (prompts, bins, width) under each condition."""
    out = {"count": torch.tensor([len(first)])}
    for name, x in (("a", first), ("b", second), ("d", first - second), ("absd", abs(first - second))):
        out[f"{unit}/{name}/mean"] = torch.from_numpy(x.mean(0))
        out[f"{unit}/{name}/m2"] = torch.from_numpy(((x - x.mean(0)) ** 2).sum(0))
    return out


def test_correlation_is_of_the_concept_and_sensitivity_of_the_attack():
    """Different activations for the two, and neurons that the concept turns down."""
    random, width = np.random.default_rng(0), 8
    concept, twin, plain, attacked = random.normal(size=(4, 5, 2, width)) + random.normal(size=(4, 1, 1, width))
    concept[..., 2] += 9  # the top quarter: one up, one down
    concept[..., 5] -= 9
    attacked[..., 6] += 9
    unit = Unit("layer", FFN, width)
    table = neuron_table([unit], paired(concept, twin, "layer"), paired(plain, attacked, "layer"), top=0.25)
    difference = concept - twin
    np.testing.assert_allclose(table["correlation"], (difference.mean(0) / difference.std(0, ddof=1)).mean(0))
    scale = np.sqrt((plain**2 + attacked**2).mean(0) / 2)
    np.testing.assert_allclose(table["sensitivity"], (abs(plain - attacked).mean(0) / scale).mean(0))
    assert table.loc[table["correlated"], "neuron"].tolist() == [2, 5]
    assert table["correlation"][2] > 0 > table["correlation"][5]
    assert table["neuron"].tolist() == list(range(width)) and set(table["layer"]) == {"layer"}


def test_reactivation_counts_concept_neurons_by_their_sign_and_norm():
    """By hand: 3, -3 and -1 in the base model are 1.5, -1 and 2 in the erased one; the other neurons are loud."""
    table = pd.DataFrame(
        {"layer": list("xxxxyy"), "neuron": [0, 1, 2, 3, 0, 1], "correlated": [True, False, True, False, False, True]}
    )

    def differences(**layers: list[list[float]]) -> dict[str, torch.Tensor]:
        means = {f"{layer}/d/mean": torch.tensor(rows, dtype=torch.float64) for layer, rows in layers.items()}
        return {**means, **{k.replace("mean", "m2"): torch.zeros_like(v) for k, v in means.items()}, **count}

    count = {"count": torch.tensor([3])}
    base = differences(x=[[2, 9, -4, 7], [4, 9, -2, 7]], y=[[5, -1], [5, -1]])
    erased = differences(x=[[1, -9, -1, 5], [2, -9, -1, 5]], y=[[8, 1], [8, 3]])
    base_norms = {"x": torch.tensor([1.0, 2, 2, 3]), "y": torch.tensor([1.0, 4])}
    erased_norms = {"x": torch.tensor([2.0, 2, 1, 3]), "y": torch.tensor([6.0, 1])}
    above = 1.5 * 2 + 1 * 1 - 2 * 1
    below = 3 * 1 + 3 * 2 + 1 * 4
    assert abs(reactivation(table, base, erased, base_norms, erased_norms) - above / below) < 1e-12
