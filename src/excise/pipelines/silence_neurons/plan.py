"""Which neurons are held, and how often it is done with as many others."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from excise.images import DrawOptions
from excise.pipelines.names import PLAIN
from excise.pipelines.study_pruning.plan import NOTHING, Cell
from excise.prompts import PromptOptions

HELD, CARRIERS, OTHERS = "held", "carriers", "others"


class SilencingOptions(BaseModel):
    """The causal check.

    Attributes:
        shares: of each layer's neurons, those that tell most of the concept.
        draws: how many times as many others are drawn.
        values: cross-attention value channels, besides feed-forward units.
        timesteps: at how many of the sampled ones neurons are measured, evenly spaced.
        tuned_for: name of the model that prompts and drawing are meant for; empty for any.
        hours: no cell is begun later than this; None for all of them.
    """

    model_config = ConfigDict(extra="forbid")
    section: ClassVar[str] = "silencing"
    concepts: list[str] = Field(min_length=1)
    shares: list[float] = Field(min_length=1)
    draws: int = Field(3, ge=1)
    values: bool = True
    timesteps: int = Field(4, ge=1)
    tuned_for: str = ""
    hours: float | None = Field(None, gt=0)
    prompts: PromptOptions
    draw: DrawOptions

    @field_validator("concepts", "shares", mode="before")
    @classmethod
    def _one_or_more(cls, given: object) -> object:
        """One may stand alone: on the command line there are no lists."""
        return given if isinstance(given, list) else [given]

    @field_validator("shares")
    @classmethod
    def _leave_others(cls, shares: list[float]) -> list[float]:
        for share in shares:
            if not 0 < share <= 0.5:
                raise ValueError(
                    f"a share is {share}: it must be above 0 and at most .5, so that as many others are left"
                )
        if len(set(shares)) < len(shares):
            raise ValueError("a share is named twice")
        return shares


def plan_cells(options: SilencingOptions) -> list[Cell]:
    """The whole model of each concept, then for each share the concept's neurons and every draw of others."""
    cells = []
    for concept in options.concepts:
        cells.append(Cell(concept, NOTHING, "unpruned", PLAIN, 0))
        for share in sorted(options.shares):
            cells.append(Cell(concept, HELD, f"{CARRIERS}_{share:g}", PLAIN, 0))
            cells += [Cell(concept, HELD, f"{OTHERS}_{share:g}", PLAIN, draw) for draw in range(1, options.draws + 1)]
    return cells


def share_of(variant: str) -> float:
    """``carriers_0.3`` -> 0.3."""
    return float(variant.rpartition("_")[2])
