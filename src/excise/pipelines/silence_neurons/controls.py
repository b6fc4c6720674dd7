"""Makes the rows of the harder controls: neurons that are loud for anything, and those of another concept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from excise.cache import fingerprint
from excise.erasers import Eraser
from excise.neurons import find_units
from excise.neurons.holding import carriers, held, loudest
from excise.neurons.units import Unit
from excise.pipelines.erase import nodes as erase
from excise.pipelines.study_pruning.plan import Cell
from excise.pipelines.study_pruning.workshop import BY_CONTENT
from excise.provenance.code import code_of_node

from .bench import Bench
from .plan import other_concept, share_of


@dataclass
class ControlBench(Bench):
    """A concept's bench that holds other neurons than its own or random ones, at what they are on its neutral prompts.

    Attributes:
        beside: the benches of all concepts.
    """

    beside: dict[str, Bench] = field(default_factory=dict)

    def parts(self, cell: Cell) -> dict[str, str]:
        """As a bench's; and what decides the other concept's neurons."""
        code = code_of_node(ControlBench, self._methods(cell), BY_CONTENT)
        told = super().parts(cell) | {f"code of {room}": digest for room, digest in code.items()}
        if other := other_concept(cell.variant):
            bench = self.beside[other]
            told["other concept"] = fingerprint([bench.concept, bench._prompts_mark])[:12]
        return told

    def row(self, cell: Cell) -> dict:
        """As a bench's; and how many ``neurons`` are held, of which ``shared`` are the concept's own, too."""
        units, own, chosen = self._neurons_of(cell)
        shared = sum(len(set(own[u.name].tolist()) & set(chosen[u.name].tolist())) for u in units)
        return super().row(cell) | {"neurons": sum(map(len, chosen.values())), "shared": shared}

    def _held(self, cell: Cell) -> Eraser:
        units, _, chosen = self._neurons_of(cell)
        weights, pruned = held(units, chosen, self.activations(), erase.open_model(self.base).denoiser)
        nothing = erase.no_eraser(self.concept, self.base, self.run_info)
        return replace(nothing, header=nothing.header | {"variant": cell.variant}, weights=weights, pruned=pruned)

    def _neurons_of(self, cell: Cell) -> tuple[list[Unit], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Units, the concept's own neurons, and those to hold: layer -> indices."""
        denoiser, share = erase.open_model(self.base).denoiser, share_of(cell.variant)
        units = find_units(denoiser, self.settings.neurons.values)
        own = carriers(units, self.activations(), share, denoiser)
        if other := other_concept(cell.variant):
            return units, own, carriers(units, self.beside[other].activations(), share, denoiser)
        return units, own, loudest(units, self.activations(), own, denoiser)
