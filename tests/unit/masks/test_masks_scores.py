"""Where a mask may be, and which weights it should take: against direct computations on a real small model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import rankdata

from excise.masks import PruneOptions, mask_support
from excise.masks.scores import input_norms, score_weights
from excise.models.layers import cross_attentions, feed_forwards, parameter_names
from excise.neurons import find_units


def neuron_rows(model, values: bool = False, seed: int = 0) -> pd.DataFrame:
    """A table of neurons with random statistics, shuffled."""
    random = np.random.default_rng(seed)
    rows = [
        {
            "layer": u.name,
            "neuron": i,
            "correlation": random.normal(),
            "sensitivity": random.random(),
            "correlated": random.random() < 0.2,
        }
        for u in find_units(model.denoiser, values)
        for i in range(u.width)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=seed)


def random_norms(model, names, seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        n: torch.rand(model.denoiser.get_parameter(f"{n}.weight").shape[1], generator=generator).double() for n in names
    }


def chosen(table: pd.DataFrame, layer: str) -> list[bool]:
    return table[table["layer"] == layer].set_index("neuron")["correlated"].sort_index().tolist()


# support ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("group", ["ffn", "kv", "v", "ffn+kv", "ffn+v"])
def test_all_marks_the_whole_group(tiny_model, group):
    support = mask_support(tiny_model.denoiser, PruneOptions(group=group, neurons="all"), None)
    assert list(support) == parameter_names(tiny_model.denoiser, group)
    assert all(s.all() and s.shape == tiny_model.denoiser.get_parameter(n).shape for n, s in support.items())


@pytest.mark.parametrize("values", [False, True])
def test_correlated_marks_rows_and_columns_of_correlated_neurons(tiny_model, values):
    table = neuron_rows(tiny_model, values)
    support = mask_support(tiny_model.denoiser, PruneOptions(neurons="correlated"), table)
    assert set(support) == set(parameter_names(tiny_model.denoiser, "ffn+kv"))
    for f in feed_forwards(tiny_model.denoiser):
        marks = chosen(table, f.down)
        up, down = support[f"{f.up}.weight"], support[f"{f.down}.weight"]
        assert f.gated and up.shape[0] == 2 * len(marks)
        for j, mark in enumerate(marks):
            assert up[j].tolist() == up[j + len(marks)].tolist() == [mark] * up.shape[1]
            assert down[:, j].tolist() == [mark] * down.shape[0]
    for c in cross_attentions(tiny_model.denoiser):
        for name in (c.key, c.value):
            rows = support[f"{name}.weight"]
            marks = chosen(table, c.value) if values else [True] * len(rows)
            assert rows.tolist() == [[mark] * rows.shape[1] for mark in marks]


def test_value_channels_are_support_without_the_keys(tiny_model):
    table = neuron_rows(tiny_model, True)
    support = mask_support(tiny_model.denoiser, PruneOptions(group="ffn+v", neurons="correlated"), table)
    layers = cross_attentions(tiny_model.denoiser)
    assert layers and not any(f"{c.key}.weight" in support for c in layers)
    for c in layers:
        assert support[f"{c.value}.weight"].any(1).tolist() == chosen(table, c.value)
    feeding = {f"{n}.weight" for f in feed_forwards(tiny_model.denoiser) for n in (f.up, f.down)}
    assert set(support) == feeding | {f"{c.value}.weight" for c in layers}


def test_correlated_support_stays_in_its_group(tiny_model):
    support = mask_support(
        tiny_model.denoiser, PruneOptions(group="ffn", neurons="correlated"), neuron_rows(tiny_model)
    )
    assert set(support) == set(parameter_names(tiny_model.denoiser, "ffn"))


# norms --------------------------------------------------------------------------------------------------------------
def test_input_norms_equal_a_direct_computation_whatever_the_batch(tiny_model):
    names = [n.removesuffix(".weight") for n in parameter_names(tiny_model.denoiser, "ffn+kv")]
    states = tiny_model.encode(["a church", "a fish", "an old man"])
    latents = torch.randn(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    times = torch.tensor([800, 200])
    modules, seen = dict(tiny_model.denoiser.named_modules()), {n: [] for n in names}
    hooks = [modules[n].register_forward_pre_hook(lambda m, a, n=n: seen[n].append(a[0].flatten(0, 1))) for n in names]
    for prompt in range(3):
        for step, time in enumerate(times):
            with torch.no_grad():
                tiny_model.predict(latents[step, prompt : prompt + 1], time, states[prompt : prompt + 1])
    for hook in hooks:
        hook.remove()
    for batch in (64, 2):
        norms = input_norms(tiny_model, names, states, times, latents, batch=batch)
        for name in names:
            direct = np.sqrt(np.square(torch.cat(seen[name]).double().numpy()).mean(0))
            np.testing.assert_allclose(norms[name].numpy(), direct, rtol=1e-4, atol=1e-6)
    assert not any(m._forward_pre_hooks for m in modules.values())


# scores -------------------------------------------------------------------------------------------------------------
def by_hand(weight, target, neutral, factor):
    """The score of every weight, one at a time; ``factor`` from (row, column) to what the neuron adds."""
    contrast = [max(0.0, float(a - b)) for a, b in zip(target, neutral, strict=True)]
    rows, columns = weight.shape
    score = np.array(
        [[abs(float(weight[i, j])) * contrast[j] * factor(i, j) for j in range(columns)] for i in range(rows)]
    )
    return score / score.mean()


@pytest.mark.parametrize("kind", ["up", "down", "key", "value"])
def test_scores_equal_a_computation_weight_by_weight(tiny_model, kind):
    table = neuron_rows(tiny_model, values=True)
    f, c = feed_forwards(tiny_model.denoiser)[0], cross_attentions(tiny_model.denoiser)[0]
    name = {"up": f.up, "down": f.down, "key": c.key, "value": c.value}[kind]
    target, neutral = (random_norms(tiny_model, [name], s) for s in (1, 2))
    scores = score_weights(tiny_model.denoiser, [f"{name}.weight"], target, neutral, table)[f"{name}.weight"]

    layer = c.value if kind == "value" else f.down
    rows = table[table["layer"] == layer].set_index("neuron").sort_index()
    ranks = rankdata(np.abs(rows["correlation"]) * rows["sensitivity"]) / len(rows)
    factor = {
        "up": lambda i, j: 1 + ranks[i % len(ranks)],  # value and gate rows of a hidden unit
        "down": lambda i, j: 1 + ranks[j],
        "key": lambda i, j: 1.0,
        "value": lambda i, j: 1 + ranks[i],
    }[kind]
    weight = tiny_model.denoiser.get_parameter(f"{name}.weight").detach().double()
    np.testing.assert_allclose(scores.numpy(), by_hand(weight, target[name], neutral[name], factor), rtol=1e-5)


def test_no_contrast_is_no_score(tiny_model):
    names = parameter_names(tiny_model.denoiser, "ffn+kv")
    layers = [n.removesuffix(".weight") for n in names]
    norms = random_norms(tiny_model, layers, 1)
    scores = score_weights(
        tiny_model.denoiser, names, norms, {n: v + 1 for n, v in norms.items()}, neuron_rows(tiny_model)
    )
    assert set(scores) == set(names)
    assert all((s == 0).all() for s in scores.values())
