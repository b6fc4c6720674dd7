"""Does a concept sit in its neurons? Every cell one JSON, made when it is missing; then a page and a figure."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from excise.cache import Cache, fingerprint
from excise.errors import UserError
from excise.masks import PruneOptions
from excise.models import ModelSpec
from excise.pipelines.erase.nodes import NeuronOptions
from excise.pipelines.study_pruning.committed import rows_by_cell, tell_left_out
from excise.pipelines.study_pruning.plan import Cell
from excise.pipelines.study_pruning.rows import deadline, made_once
from excise.pipelines.study_pruning.workshop import Settings
from excise.provenance.decoding import decoding_sha256

from .plan import SilencingOptions, is_harder, plan_cells

if TYPE_CHECKING:
    from .bench import Bench
    from .controls import ControlBench

logger = logging.getLogger(__name__)


def silence_neurons(
    silencing: SilencingOptions,
    concepts: dict,
    model: ModelSpec,
    seed: int,
    cache: Cache,
    run_info: dict,
    committed: list,
) -> tuple[dict[str, Callable[[], dict]], list[str]]:
    """Rows to be made, as functions that are called while they are saved; and their order.

    Args:
        committed: rows of ``docs/neurons.json``: one whose fingerprint still fits is not made again.
    """
    cells, benches = plan_benches(silencing, concepts, model, seed, cache, run_info)
    prints = {cell: benches.fingerprint(cell) for cell in cells}
    older = rows_by_cell(committed, f"{silencing.section}.committed")
    known = {prints[cell]: older[cell] for cell in cells if older.get(cell, {}).get("fingerprint") == prints[cell]}
    todo = [cell for cell in cells if prints[cell] not in known]
    tell_left_out(older, cells)
    logger.info("There are %d cells, %d of them are committed already.", len(cells), len(cells) - len(todo))
    end = deadline(silencing.hours)

    def maker(cell: Cell) -> Callable[[], dict]:
        def make() -> dict:
            if prints[cell] in known:
                return {key: value for key, value in known[prints[cell]].items() if key != "stale"}
            row = made_once(cache, "cell", prints[cell], end, lambda: benches.row(cell))
            if "missing" not in row:
                logger.info("%d of %d: %s", todo.index(cell) + 1, len(todo), cell.id)
            elif cell in older:  # of an earlier version: better than none, as long as nobody takes it for a new one
                return older[cell] | {"stale": True}
            return row

        return make

    names = [f"{number:03d}-{cell.id}" for number, cell in enumerate(cells)]
    return {name: maker(cell) for name, cell in zip(names, cells, strict=True)}, names


@dataclass
class Benches:
    """A bench for each concept, and one for its harder controls.

    Attributes:
        decoding: hash of the model's autoencoder, scheduler and tokenizers.
    """

    of: dict[str, Bench]
    controls: dict[str, ControlBench]
    decoding: str

    def fingerprint(self, cell: Cell) -> str:
        """Of all that decides a row."""
        return fingerprint(self.parts(cell))

    def parts(self, cell: Cell) -> dict[str, str]:
        """What decides a row, each with a fingerprint of its own."""
        return self._bench(cell).parts(cell) | {"decoding": fingerprint(self.decoding)[:12]}

    def row(self, cell: Cell) -> dict:
        """Made anew."""
        return self._bench(cell).row(cell) | {"made_of": self.parts(cell)}

    def _bench(self, cell: Cell) -> Bench:
        return (self.controls if is_harder(cell.variant) else self.of)[cell.concept]


def plan_benches(
    silencing: SilencingOptions, concepts: dict, model: ModelSpec, seed: int, cache: Cache, run_info: dict
) -> tuple[list[Cell], Benches]:
    """The cells, and who makes them; nothing is made."""
    from .bench import Bench  # brings torch
    from .controls import ControlBench

    neurons = NeuronOptions(timesteps=silencing.timesteps, values=silencing.values)
    last = (PruneOptions(bins=1), neurons, silencing.draw, {}, None, seed)
    settings = Settings(model, silencing.prompts, {}, {}, *last)
    given = (settings, concepts, cache, run_info)
    made = {name: Bench(name, *given) for name in silencing.concepts}
    controls = {name: ControlBench(name, *given, _kept=bench._kept, beside=made) for name, bench in made.items()}
    return plan_cells(silencing), Benches(made, controls, decoding_sha256(model.folder))


def collect(cells: dict[str, Callable[[], dict]], order: list[str]) -> list[dict]:
    """``docs/neurons.json``: one row a cell, as far as they have come.

    Raises:
        UserError: not a single cell was finished in time.
    """
    rows = [row for row in (cells[name]() for name in order) if "missing" not in row]
    if not rows:
        raise UserError("Not a single cell was finished in the time given: give silencing.hours more.")
    left = len(order) - sum(not row.get("stale") for row in rows)
    if left:
        logger.warning("%d of %d cells are still missing or stale: run it again.", left, len(order))
    return rows


def write_silencing(rows: list[dict], silencing: SilencingOptions, model: ModelSpec, run_info: dict) -> str:
    """``docs/neurons.md``."""
    from .page import silencing_page

    return silencing_page(rows, silencing, model.name, run_info["command"])


def draw_silencing(rows: list[dict]) -> Image.Image:
    """How often the concept is drawn against the share of neurons held."""
    from .page import silencing_figure

    return silencing_figure(rows)
