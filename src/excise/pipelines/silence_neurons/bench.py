"""Makes one row: a model with neurons held, asked plainly, on test prompts and on what must survive."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from excise.attacks import AttackOptions
from excise.erasers import Eraser
from excise.erasers.bank import build_bank
from excise.masks import PruneOptions
from excise.neurons import find_units
from excise.neurons.holding import carriers, held, others
from excise.pipelines.erase import nodes as erase
from excise.pipelines.study_pruning.plan import NOTHING, Cell
from excise.pipelines.study_pruning.workshop import BY_CONTENT, Workshop
from excise.provenance.code import code_of_node

from .plan import CARRIERS, share_of


@dataclass
class Bench(Workshop):
    """A study's workshop in which no eraser is trained and none is attacked: neurons are held, and that is all.

    Neurons are measured and ranked on fit prompts beside their neutral twins, at latents of the base model's own
    pictures of them.
    """

    def parts(self, cell: Cell) -> dict[str, str]:
        """What decides a row; how neurons are held is among it."""
        code = code_of_node(Bench, self._methods(cell), BY_CONTENT)
        return super().parts(cell) | {f"code of {room}": digest for room, digest in code.items()}

    def eraser(self, cell: Cell) -> Eraser:
        return self._once(("eraser", cell.variant, cell.seed), lambda: self._held(cell))

    def _held(self, cell: Cell) -> Eraser:
        nothing = erase.no_eraser(self.concept, self.base, self.run_info)
        if cell.eraser == NOTHING:
            return nothing
        denoiser = erase.open_model(self.base).denoiser
        units, seen = find_units(denoiser, self.settings.neurons.values), self.activations()
        chosen = carriers(units, seen, share_of(cell.variant), denoiser)
        if not cell.variant.startswith(CARRIERS):
            chosen = others(chosen, units, cell.seed)
        weights, pruned = held(units, chosen, seen, denoiser)
        return replace(nothing, header=nothing.header | {"variant": cell.variant}, weights=weights, pruned=pruned)

    def activations(self) -> dict:
        """The base model's neurons on fit prompts of the concept (a) and on their twins (b)."""

        def measured() -> dict:
            given = (self.base, self.prompts, {"concept": self._bank()})
            return erase.measure_concept(*given, self.settings.neurons, PruneOptions(bins=1))

        return self._once(("activations",), measured)

    def _bank(self) -> str:
        """Where the base model goes when it draws the concept's fit prompts."""
        rows: pd.DataFrame = erase.rows_of(self.prompts, ["target"], "fit")
        texts, seeds = rows["prompt"].tolist(), [int(s) for s in rows["seed"]]
        draw = self.settings.draw
        settings = {"texts": texts, "seeds": seeds, "steps": draw.steps, "guidance": draw.guidance}
        folder = self.cache.folder(
            "trajectories", ("excise.models", "excise.erasers.bank"), model=self.base, **settings
        )
        path = folder / "bank.safetensors"
        title = "trajectories of the base model: concept"
        build_bank(erase.open_model(self.base), texts, seeds, draw.steps, draw.guidance, path, title, batch=draw.batch)
        return str(path)

    def _attacks(self, cell: Cell) -> list[AttackOptions]:
        """None."""
        return []
