"""Whole neurons, top-k gates, and masks that nobody learns."""

from __future__ import annotations

import pytest
import torch

from excise.masks import Mask, PruneOptions, mask_support
from excise.masks.fixed import random_mask, scored_mask
from excise.masks.gates import TopK, make_gates
from excise.masks.layout import PerNeuron, PerWeight
from excise.models.layers import feed_forwards


def random_scores(support, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.rand(s.shape, generator=generator) + 0.1 for n, s in support.items()}


@pytest.fixture
def support(tiny_model):
    return mask_support(tiny_model.denoiser, PruneOptions(), None)


# whole neurons -------------------------------------------------------------------------------------------------------
def test_a_neuron_goes_with_all_of_its_weights(tiny_model, support):
    layout = PerNeuron(support, tiny_model.denoiser)
    gates = torch.ones(sum(layout.sizes))
    gates[[0, 3]] = 0.0
    out = layout.spread_out(gates)
    first = feed_forwards(tiny_model.denoiser)[0]
    up, down = out[f"{first.up}.weight"], out[f"{first.down}.weight"]
    width = down.shape[1]
    assert first.gated and up.shape[0] == 2 * width
    shut = sorted({0, 3, width, width + 3})
    assert (up == 0).all(1).nonzero().squeeze(-1).tolist() == shut and up.sum() == up.numel() - 4 * up.shape[1]
    assert (down == 0).all(0).nonzero().squeeze(-1).tolist() == [0, 3]
    assert all((o == 1).all() for n, o in out.items() if not n.startswith((first.up, first.down)))


def test_a_neurons_score_is_the_sum_over_its_weights(tiny_model, support):
    scores = random_scores(support)
    first = feed_forwards(tiny_model.denoiser)[0]
    got = PerNeuron(support, tiny_model.denoiser).scores(scores)[0]
    up, down = scores[f"{first.up}.weight"], scores[f"{first.down}.weight"]
    width = down.shape[1]
    wanted = [float(up[j].sum() + up[j + width].sum() + down[:, j].sum()) for j in range(width)]
    torch.testing.assert_close(got, torch.tensor(wanted))


def test_neuron_gates_are_silent_outside_the_support(tiny_model, support):
    half = {n: torch.rand(s.shape, generator=torch.Generator().manual_seed(1)) < 0.5 for n, s in support.items()}
    layout = PerNeuron(half, tiny_model.denoiser)
    out = layout.spread_out(torch.zeros(sum(layout.sizes)))
    assert all(torch.equal(o == 0, half[n]) for n, o in out.items())


@pytest.mark.parametrize("unit", ["weight", "neuron"])
@pytest.mark.parametrize("gates", ["hard_concrete", "top_k"])
def test_a_gradient_reaches_the_gates_of_every_kind(tiny_model, support, unit, gates):
    options = PruneOptions(unit=unit, gates=gates, rate=0.2, start=0.1, spread=0.1)
    made = make_gates(support, random_scores(support), options, tiny_model.denoiser)
    spread = made.spread_out(made.sample(torch.Generator().manual_seed(0)))
    sum(v.sum() for v in spread.values()).backward()
    assert (made.logits.grad != 0).float().mean() > 0.3  # hard concrete gates that were drawn shut or open have none


# top-k ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rate", [0.1, 0.37])
def test_top_k_closes_exactly_its_rate_and_the_lowest(tiny_model, support, rate):
    gates = TopK(PerWeight(support), random_scores(support), PruneOptions(gates="top_k", rate=rate))
    total = len(gates.logits)
    sampled = gates.sample(torch.Generator())
    assert int((sampled.detach() < 0.5).sum()) == round(rate * total)
    assert gates.logits[sampled < 0.5].max() <= gates.logits[sampled > 0.5].min()
    assert Mask(gates.pruned(), {}).prune_rate == pytest.approx(rate, abs=1e-4)
    assert float(gates.closed_fraction()) == pytest.approx(rate, abs=1e-4)


def test_top_k_passes_the_gradient_straight_through(tiny_model, support):
    gates = TopK(PerWeight(support), random_scores(support), PruneOptions(gates="top_k", rate=0.3))
    weight = torch.randn(len(gates.logits), generator=torch.Generator().manual_seed(0))
    (gates.sample(torch.Generator()) * weight).sum().backward()
    soft = torch.sigmoid(gates.logits.detach())
    torch.testing.assert_close(gates.logits.grad, weight * soft * (1 - soft))


def test_top_k_needs_a_rate():
    with pytest.raises(ValueError, match="need a rate"):
        PruneOptions(gates="top_k")


# fixed masks ---------------------------------------------------------------------------------------------------------
def test_a_scored_mask_takes_the_highest_scores_of_all_layers():
    scores = {"a": torch.tensor([[5.0, 1.0], [0.0, 2.0]]), "b": torch.tensor([[9.0, 3.0]])}
    support = {n: torch.ones_like(s, dtype=torch.bool) for n, s in scores.items()}
    mask = scored_mask(scores, support, 0.5)
    assert mask["a"].tolist() == [[True, False], [False, False]] and mask["b"].tolist() == [[True, True]]
    support["b"][0, 0] = False
    assert scored_mask(scores, support, 0.5)["b"].tolist() == [[False, True]]


def test_a_score_that_is_no_number_is_refused():
    scores = {"a": torch.tensor([1.0, float("nan"), 2.0])}
    with pytest.raises(ValueError, match="no finite numbers"):
        scored_mask(scores, {"a": torch.ones(3, dtype=torch.bool)}, 0.5)
    scored_mask(scores, {"a": torch.tensor([True, False, True])}, 0.5)  # outside of the support it is nothing


@pytest.mark.parametrize("stretch", [(0.1, 0.9), (1.1, -0.1), (0.0, 1.1), (-0.1, 1.0)])
def test_gates_that_cannot_close_or_open_are_refused(stretch):
    with pytest.raises(ValueError, match="begin below 0 and end above 1"):
        PruneOptions(stretch=stretch)


def test_a_scored_mask_never_takes_what_has_no_score():
    scores = {"a": torch.tensor([[0.0, 0.0], [0.0, 2.0]])}
    mask = scored_mask(scores, {"a": torch.ones(2, 2, dtype=torch.bool)}, 0.75)
    assert mask["a"].sum() == 1


def test_a_random_mask_has_the_same_count_in_every_layer(support):
    like = scored_mask(random_scores(support), support, 0.2)
    drawn, again, other = (random_mask(like, support, seed) for seed in (0, 0, 1))
    assert all(drawn[n].sum() == like[n].sum() for n in like)
    assert all(torch.equal(drawn[n], again[n]) for n in like)
    assert any(not torch.equal(drawn[n], other[n]) for n in like)
    overlap = sum(int((drawn[n] & like[n]).sum()) for n in like) / sum(int(m.sum()) for m in like.values())
    assert overlap < 0.4  # about the prune rate, not more


def test_a_random_mask_stays_in_its_support(support):
    narrow = {n: torch.rand(s.shape, generator=torch.Generator().manual_seed(2)) < 0.3 for n, s in support.items()}
    like = {n: s & (torch.rand(s.shape, generator=torch.Generator().manual_seed(3)) < 0.5) for n, s in narrow.items()}
    drawn = random_mask(like, narrow, 0)
    assert all(not (drawn[n] & ~narrow[n]).any() and drawn[n].sum() == like[n].sum() for n in like)
