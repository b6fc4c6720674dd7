"""Masks that are bound to other neurons than those that correlate with the concept: does it matter which they are?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from excise.cache import fingerprint
from excise.erasers import Eraser
from excise.pipelines.erase import nodes as erase
from excise.pipelines.study_pruning.plan import Cell
from excise.pipelines.study_pruning.workshop import BY_CONTENT, Workshop
from excise.provenance.code import code_of_node

Aim = Literal["carriers", "others"]


@dataclass
class Aimed(Workshop):
    """A workshop whose masks may touch the weights of as many other neurons of every layer.

    Args:
        aim: ``carriers``, the neurons that tell the layers behind them most of the concept; ``others``, a random draw
            from those that do not correlate with it, the control. What is measured (reactivation, sensitivity) is
            measured on the correlated ones, as in every other row.
    """

    aim: Aim = "others"
    _making: bool = False

    def parts(self, cell: Cell) -> dict[str, str]:
        """As a workshop's, with the aim."""
        own = {"aim": self.aim, "code": code_of_node(Aimed, (), BY_CONTENT)}
        return super().parts(cell) | {"aim": fingerprint(own)[:12]}

    def _make(self, cell: Cell) -> Eraser:
        before, self._making = self._making, True
        try:
            return super()._make(cell)
        finally:
            self._making = before

    def ranked(self, cell: Cell) -> tuple[pd.DataFrame, dict]:
        """For a mask that is being made the neurons that it is bound to, else those that correlate."""
        table, scores = super().ranked(cell)
        return (self._aimed(table, cell), scores) if self._making else (table, scores)

    def _aimed(self, table: pd.DataFrame, cell: Cell) -> pd.DataFrame:
        from excise.neurons import find_units
        from excise.neurons.holding import concept_signal, others

        s = self.settings
        denoiser = erase.open_model(self.base).denoiser
        units = find_units(denoiser, s.neurons.values)
        correlated = table[table["correlated"]]
        chosen = {str(layer): rows["neuron"].to_numpy() for layer, rows in correlated.groupby("layer")}
        if self.aim == "others":
            bound = others(chosen, units, cell.seed)
        else:
            seen = erase.measure_concept(self.base, self.prompts, self.trajectories(cell.eraser), s.neurons, s.prune)
            bound = {u.name: concept_signal(seen, u, denoiser).topk(len(chosen[u.name])).indices for u in units}
        marked = {(layer, int(neuron)) for layer, neurons in bound.items() for neuron in neurons}
        return table.assign(correlated=[pair in marked for pair in zip(table["layer"], table["neuron"], strict=True)])
