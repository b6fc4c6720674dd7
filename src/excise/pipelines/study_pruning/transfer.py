"""Attacks that were made on one eraser's model and are tried on another eraser's."""

from __future__ import annotations

import pandas as pd

from excise.cache import fingerprint
from excise.erasers import make_method
from excise.pipelines.evaluate import nodes as evaluate

from .plan import Cell, made_by
from .workshop import Workshop


class Carrier(Workshop):
    """A workshop of cells whose ``made_on`` names another eraser, too."""

    def parts(self, cell: Cell) -> dict[str, str]:
        """As a workshop's, with the other eraser's options."""
        return super().parts(cell) | {"made on": fingerprint(self.settings.erasers[_made(cell).eraser])[:12]}

    def _methods(self, cell: Cell) -> list[type]:
        return [*super()._methods(cell), type(make_method(self.settings.erasers[_made(cell).eraser]))]

    def _attacked(self, cell: Cell) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
        from excise.metrics.rates import either

        s, made = self.settings, _made(cell)
        adversarial = evaluate.attack_test_prompts(
            self.concept,
            self.base,
            self.eraser(made),
            self.prompts,
            self.trajectories(made.eraser),
            s.attacks[cell.attack],
            s.draw,
            self.cache,
        )
        eraser, plain = self.eraser(cell), self._plain(cell)[0]
        images = evaluate.draw_attacked(self.concept, self.base, eraser, self.prompts, adversarial, s.draw, self.cache)
        dropped = adversarial[adversarial["dropped"] != ""]["prompt_id"]
        return adversarial, {k: either(plain[k], v) for k, v in self._verdicts(images, dropped).items()}


def _made(cell: Cell) -> Cell:
    """The cell that an attack was made in."""
    eraser, variant = made_by(cell.eraser, cell.made_on)
    return cell._replace(eraser=eraser, variant=variant, made_on="")
