"""Which neurons are held, and how often it is done with as many others."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from excise.images import DrawOptions
from excise.pipelines.names import PLAIN
from excise.pipelines.study_pruning.plan import NOTHING, Cell
from excise.prompts import PromptOptions

HELD, CARRIERS, OTHERS = "held", "carriers", "others"
LOUD, OF = "loud", "of-"  # the loudest others; before another concept's name: its neurons


class SilencingOptions(BaseModel):
    """The causal check.

    Attributes:
        shares: of each layer's neurons, those that tell most of the concept.
        draws: how many times as many others are drawn.
        harder: two more controls, the loudest of the others, and the neurons of each other concept named here.
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
    harder: bool = True
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
        if len({f"{share:g}" for share in shares}) < len(shares):  # as cells spell them
            raise ValueError("a share is named twice")
        return shares

    @field_validator("concepts")
    @classmethod
    def _each_once(cls, concepts: list[str]) -> list[str]:
        if len(set(concepts)) < len(concepts):
            raise ValueError("a concept is named twice")
        return concepts


def plan_cells(options: SilencingOptions) -> list[Cell]:
    """The whole model of each concept, then for each share the concept's neurons, every draw of others, and the harder
    controls."""
    cells = []
    for concept in options.concepts:
        cells.append(Cell(concept, NOTHING, "unpruned", PLAIN, 0))
        crossed = [f"{OF}{other}" for other in options.concepts if other != concept]
        for share in sorted(options.shares):
            cells.append(Cell(concept, HELD, f"{CARRIERS}_{share:g}", PLAIN, 0))
            cells += [Cell(concept, HELD, f"{OTHERS}_{share:g}", PLAIN, draw) for draw in range(1, options.draws + 1)]
            if options.harder:
                cells += [Cell(concept, HELD, f"{kind}_{share:g}", PLAIN, 0) for kind in (LOUD, *crossed)]
    return cells


def share_of(variant: str) -> float:
    """``carriers_0.3`` -> 0.3."""
    return float(variant.rpartition("_")[2])


def kind_of(variant: str) -> str:
    """``carriers_0.3`` -> ``carriers``."""
    return variant.rpartition("_")[0]


def other_concept(variant: str) -> str | None:
    """``of-church_0.3`` -> ``church``; None where no other concept's neurons are held."""
    kind = kind_of(variant)
    return kind.removeprefix(OF) if kind.startswith(OF) else None


def is_harder(variant: str) -> bool:
    """Whether this is one of the harder controls."""
    return kind_of(variant) == LOUD or other_concept(variant) is not None
