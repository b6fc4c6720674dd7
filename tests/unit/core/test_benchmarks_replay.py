"""What a stage is held against asks of the networks what the stage does, forward and backward, and nothing more."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch.func import functional_call

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def replaying():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("replay")
    sys.path.remove(str(ROOT / "benchmarks"))


class Counted(torch.nn.Linear):
    """A layer that writes down what is asked of it."""

    def __init__(self):
        super().__init__(3, 3)
        self.requires_grad_(False)
        self.asked: list[tuple] = []

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        own = {"x": x, "weight": self.weight}
        backward = []
        for name, tensor in own.items():
            if tensor.requires_grad and torch.is_grad_enabled():
                tensor.register_hook(lambda grad, name=name: backward.append(name) or None)
        self.asked.append(
            (tuple(x.shape), scale, torch.is_grad_enabled() and bool(backward or x.requires_grad), backward)
        )
        return super().forward(x) * scale


def test_the_same_is_asked_again_and_learned_to_the_same(replaying):
    network = Counted()

    def stage() -> None:
        with torch.no_grad():
            learned = network.weight.detach().requires_grad_(True)  # looked at here, and not learned
            functional_call(network, {"weight": learned}, (torch.ones(2, 3),))
        network(torch.ones(4, 3, requires_grad=True), scale=2.0).sum().backward()
        weight = network.weight.detach().requires_grad_(True)
        functional_call(network, {"weight": weight}, (torch.ones(5, 3),)).sum().backward()

    bare = replaying.bare_of(stage, network)
    first, network.asked = network.asked, []
    assert bare.rows(network) == 2 + 4 + 5
    bare()
    assert network.asked == first
    assert [sorted(backward) for *_, backward in first] == [[], ["x"], ["weight"]]
    stage()
    assert bare.rows(network) == 2 + 4 + 5  # it notes one run
    assert not any(p.requires_grad for p in network.parameters())
