"""Which workshop makes a cell: each concept has one, another for masks alone, with all weights frozen, and one for
attacks that are carried over from another eraser."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from excise.cache import Cache, fingerprint
from excise.models import ModelSpec
from excise.pipelines.names import PLAIN
from excise.provenance.decoding import decoding_sha256

from .memory import forget_peak
from .plan import ALONE, NEVER_SAW, NOTHING, SILENCED, Cell, is_carried_across
from .transfer import Carrier
from .workshop import Settings, Workshop


@dataclass
class Shops:
    """All workshops of a study, opened when they are needed.

    Args:
        settings: of all that is trained beside its mask; masks alone differ by ``prune.weight_lr``, which is 0.
        concepts: all concepts' descriptions.
    """

    settings: Settings
    concepts: dict
    cache: Cache
    run_info: dict
    _open: dict[tuple[str, bool, bool], Workshop] = field(default_factory=dict)
    _pictures: dict[tuple[str, str], str] = field(default_factory=dict)

    def of(self, cell: Cell) -> Workshop:
        """The workshop that makes a cell."""
        alone, across = cell.variant.endswith(ALONE), is_carried_across(cell)
        key = (cell.concept, alone, across)
        if key not in self._open:
            settings = self.settings
            if alone:
                settings = replace(settings, prune=settings.prune.model_copy(update={"weight_lr": 0.0}))
            given = (cell.concept, settings, self.concepts, self.cache, self.run_info)
            # whoever carries attacks over has the erasers of the ordinary workshop
            self._open[key] = (
                Carrier(*given, _kept=self.of(cell._replace(made_on=""))._kept) if across else Workshop(*given)
            )
        return self._open[key]

    def fingerprint(self, cell: Cell) -> str:
        """Of all that decides a row."""
        return fingerprint(self.parts(cell))

    def parts(self, cell: Cell) -> dict[str, str]:
        """What decides a row, each with a fingerprint of its own."""
        return self.of(cell).parts(_inside(cell)) | self._beside(cell)

    def row(self, cell: Cell) -> dict[str, Any]:
        """Made anew; its variant is called as the workshop calls it (``named``)."""
        forget_peak()
        return self.of(cell).row(_inside(cell)) | {"made_of": self.parts(cell)}

    def _beside(self, cell: Cell) -> dict[str, str]:
        """What decides a row besides the model's and its eraser's weights: the files that turn latents into pictures,
        and, where no eraser of its own says so, whose pictures an attacker learns from."""
        shop = self.of(cell)
        own = shop.model(cell)
        kind = ("never saw" if cell.eraser == NEVER_SAW else "base", cell.concept)
        if kind not in self._pictures:
            self._pictures[kind] = decoding_sha256(ModelSpec.model_validate(own).folder)
        beside: dict[str, Any] = {"decoding": self._pictures[kind]}
        if cell.eraser == SILENCED or (cell.eraser in (NOTHING, NEVER_SAW) and cell.attack != PLAIN):
            first = next(iter(self.settings.erasers.values()))
            beside["references"] = [first.trajectories, first.sampling_steps, first.guidance, shop.base["sha256"]]
        return {name: fingerprint(value)[:12] for name, value in beside.items()}


def named(row: dict[str, Any], cell: Cell) -> dict[str, Any]:
    """A row under its cell's variant, with the rest as it is."""
    return row | {"variant": cell.variant}


def _inside(cell: Cell) -> Cell:
    """A workshop of frozen weights knows no other masks, and calls its own by the plain name."""
    return cell._replace(variant=cell.variant.removesuffix(ALONE))
