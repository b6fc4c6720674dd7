"""Hard concrete gates against their formulas and against counting."""

from __future__ import annotations

import math

import pytest
import torch

from excise.masks.gates import HardConcrete
from excise.masks.layout import PerWeight
from excise.masks.options import PruneOptions


def make_gates(scores: torch.Tensor, support: torch.Tensor | None = None, **options) -> HardConcrete:
    support = torch.ones_like(scores, dtype=torch.bool) if support is None else support
    return HardConcrete(PerWeight({"w": support}), {"w": scores}, PruneOptions(**options))


def scores(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("start", [-1.0, 0.5, 2.0])
def test_expected_closed_fraction_is_what_sampling_counts(start):
    gates = make_gates(scores(40, 50), start=start, spread=1.0)
    generator = torch.Generator().manual_seed(0)
    counted = torch.stack([(gates.sample(generator) == 0).float().mean() for _ in range(100)])
    assert abs(float(counted.mean() - gates.closed_fraction().detach())) < 4 * float(counted.std()) / 10
    assert float(counted.std()) > 0


def test_samples_follow_the_formula():
    """Louizos et al. 2018, eq. 10 and 11, a number at a time."""
    gates = make_gates(scores(3, 4), start=0.3, spread=2.0, temperature=0.5, stretch=(-0.2, 1.3))
    drawn = gates.sample(torch.Generator().manual_seed(7)).tolist()
    uniforms = torch.rand(12, generator=torch.Generator().manual_seed(7)).tolist()
    for z, u, logit in zip(drawn, uniforms, gates.logits.tolist(), strict=True):
        s = 1 / (1 + math.exp(-(math.log(u) - math.log(1 - u) + logit) / 0.5))
        assert z == pytest.approx(min(1.0, max(0.0, s * (1.3 + 0.2) - 0.2)), abs=1e-5)


def test_pruned_are_the_gates_below_one_half():
    """Without noise (eq. 13); with a symmetric stretch that is where the logit is below 0."""
    gates = make_gates(scores(20, 30), start=0.4, spread=1.0)
    z = [min(1.0, max(0.0, 1.2 / (1 + math.exp(-x)) - 0.1)) for x in gates.logits.tolist()]
    pruned = gates.pruned()["w"]
    assert pruned.flatten().tolist() == [v < 0.5 for v in z]
    assert 0 < int(pruned.sum()) < pruned.numel()


def test_the_higher_the_score_the_lower_the_start():
    gates = make_gates(scores(6, 7), start=1.0, spread=0.5)
    by_score = gates.logits.detach()[scores(6, 7).flatten().argsort()]
    assert (by_score.diff() < 0).all()
    assert float(by_score[0]) == pytest.approx(1.0) and float(by_score[-1]) == pytest.approx(0.5)


def test_a_layer_without_contrast_starts_alike():
    assert set(make_gates(torch.zeros(5, 5), start=1.0, spread=0.5).logits.tolist()) == {1.0}


def test_gates_outside_the_support_do_not_exist_and_stay_open():
    support = torch.rand(9, 11, generator=torch.Generator().manual_seed(2)) < 0.4
    gates = make_gates(scores(9, 11), support, start=-5.0)  # all closed
    assert gates.logits.numel() == int(support.sum())
    full = gates.spread_out(torch.arange(gates.logits.numel(), dtype=torch.float32) + 10)["w"]
    assert (full[~support] == 1).all()
    assert full[support].tolist() == [10.0 + i for i in range(int(support.sum()))]  # in the order of the weights
    assert torch.equal(gates.pruned()["w"], support)


def test_several_parameters_get_their_own_gates():
    parts = {"a": scores(3, 4), "b": scores(5, 2) + 1}
    support = {n: torch.ones_like(s, dtype=torch.bool) for n, s in parts.items()}
    gates = HardConcrete(PerWeight(support), parts, PruneOptions())
    out = gates.spread_out(torch.arange(22.0))
    assert torch.equal(out["a"], torch.arange(12.0).view(3, 4)) and torch.equal(
        out["b"], torch.arange(12.0, 22.0).view(5, 2)
    )
    for part, values in zip(gates.logits.detach().split([12, 10]), parts.values(), strict=True):
        assert part.argmin() == values.flatten().argmax()  # ranked within its layer


def test_a_gradient_reaches_every_logit():
    gates = make_gates(scores(4, 4), start=0.0, spread=0.1)
    (gates.closed_fraction() + gates.sample(torch.Generator().manual_seed(0)).sum()).backward()
    assert (gates.logits.grad != 0).all()


def test_a_term_that_does_nothing_is_refused():
    with pytest.raises(ValueError, match="sparse_weight does nothing to top_k gates"):
        PruneOptions(gates="top_k", rate=0.1, sparse_weight=0.5)
    assert PruneOptions(sparse_weight=0.5).sparse_weight == 0.5
