"""Which cells a study has: concept x eraser x variant x attack x training seed."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from excise.errors import UserError
from excise.images import DrawOptions
from excise.pipelines.names import PLAIN
from excise.prompts import PromptOptions

Trained = Literal["unpruned", "plus", "learned", "plus_plain", "learned_plain", "scored", "random"]
Variant = Trained | Literal["learned_alone", "scored_alone", "random_alone"]
UNAIDED = "_plain"  # ends the names of the variants that learn from no adversarial prompts
ALONE = "_alone"  # ends the names of masks beside which all weights are frozen
NOTHING, NEVER_SAW = "none", "never_saw"  # rows of the base model, and of one that never saw the concept
STALE = "†"  # marks what an earlier version made
SILENCED = "silenced"  # rows of the base model with neurons held at zero


class Studied(BaseModel):
    """How one eraser is studied.

    Attributes:
        seeds: of training, for the variants X, X+ and P-X.
        variants: those that are trained with every seed.
        once: variants that are made with the first seed alone.
    """

    model_config = ConfigDict(extra="forbid")
    seeds: list[int] = Field([1], min_length=1)
    variants: list[Variant] = ["unpruned", "learned"]
    once: list[Variant] = []


class Silence(BaseModel):
    """The causal check: hold the concept's neurons at zero, and as many others of the same layers.

    Attributes:
        share: of each layer's neurons.
        draws: how many times the others are drawn.
    """

    model_config = ConfigDict(extra="forbid")
    share: float = Field(0.1, gt=0, le=0.5)
    draws: int = Field(3, ge=1)


class Instead(BaseModel):
    """What a study does otherwise than a quick run.

    Attributes:
        erasers, attacks: name -> options.
    """

    model_config = ConfigDict(extra="forbid")
    erasers: dict[str, dict[str, Any]] = {}
    attacks: dict[str, dict[str, Any]] = {}
    prune: dict[str, Any] = {}


class StudyOptions(BaseModel):
    """The grid.

    Attributes:
        title, about: the page's heading, and a sentence on what this study is; empty for none.
        only: names of the erasers to study, one or several; empty for all that are described.
        attacks: names in the parameter ``attacks``; plain prompts are always asked.
        never_saw: concept -> folder of a model that was trained without it, or of its U-Net alone where all else is
            the base model's; null for none, which takes away what an environment beneath names.
        prompts, draw: more than one report needs: as the parameters of these names.
        transfer: attacks of ``attacks`` that are also tried on the other variants than the one that they were made on.
        across: these are tried on the other erasers' variants, too.
        learns_against: the attack on X that P-X and X+ learn against; unless given the first of ``attacks``.
        instead: laid over the parameters ``erasers``, ``attacks`` and ``prune``: longer training, longer attacks. An
            attack of another name says with ``method`` what it is.
        tuned_for: name of the model that all of this is meant for; empty for any. Another one is refused.
        workers: processes that make rows side by side.
        hours: no cell is begun later than this; None for all of them. What is missing is made by a later run.
    """

    model_config = ConfigDict(extra="forbid")
    section: ClassVar[str] = "study"  # the parameter that holds it
    keeps_stale: ClassVar[bool] = True  # rows of an earlier version stay, marked, until they are made again
    title: str = "Does pruning make an eraser robust?"
    about: str = ""
    concepts: list[str] = Field(min_length=1)
    erasers: dict[str, Studied]
    only: list[str] = []
    attacks: list[str]
    learns_against: str = ""
    tuned_for: str = ""
    never_saw: dict[str, str] = {}
    silence: Silence | None = None
    transfer: list[str] = []
    across: bool = False
    hours: float | None = Field(None, gt=0)
    workers: int = Field(1, ge=1)
    prompts: PromptOptions
    draw: DrawOptions
    instead: Instead = Field(default_factory=lambda: Instead())

    @field_validator("concepts", "only", "attacks", "transfer", mode="before")
    @classmethod
    def _one_or_more(cls, names: object) -> object:
        """One name may stand alone: on the command line there are no lists."""
        return [] if names is None else [names] if isinstance(names, str) else names

    @field_validator("never_saw", mode="before")
    @classmethod
    def _named(cls, never_saw: object) -> object:
        """A key that an environment beneath has can only be set to null."""
        return {k: v for k, v in never_saw.items() if v is not None} if isinstance(never_saw, dict) else never_saw

    @model_validator(mode="after")
    def _sound(self) -> StudyOptions:
        for what, names in (("concepts", self.concepts), ("attacks", self.attacks)):
            if len(set(names)) < len(names):
                raise ValueError(f"{self.section}.{what} names something twice")
        for name in self.transfer:
            if name not in self.attacks:
                raise ValueError(
                    f"{self.section}.transfer names '{name}', which is none of its attacks {', '.join(self.attacks)}"
                )
            if any(v.endswith(ALONE) for how in self.erasers.values() for v in (*how.variants, *how.once)):
                raise ValueError(
                    f"{self.section}.transfer: masks alone (variants ...{ALONE}) are not tried; leave them out"
                )
        for name in self.only:
            if name not in self.erasers:
                raise ValueError(f"{self.section}.only names '{name}', which is none of {', '.join(self.erasers)}")
        for name, how in self.erasers.items():
            if len(set(how.seeds)) < len(how.seeds) or len({*how.variants, *how.once}) < len(how.variants + how.once):
                raise ValueError(f"{self.section}.erasers.{name} names a seed or a variant twice")
        return self

    @property
    def heading(self) -> str:
        """The beginning of its page."""
        return f"# {self.title}\n" + (f"\n{self.about}\n" if self.about else "")

    @property
    def studied(self) -> dict[str, Studied]:
        """The erasers of this study."""
        return {n: how for n, how in self.erasers.items() if not self.only or n in self.only}


class Cell(NamedTuple):
    """One row of the results."""

    concept: str
    eraser: str
    variant: str
    attack: str
    seed: int
    made_on: str = ""  # transfer: what the attack was made on, a variant, or eraser.variant; unless given, this model

    @property
    def id(self) -> str:
        return ".".join(str(part) for part in self if part != "")


def cell_of(row: dict[str, Any]) -> Cell:
    """The cell that a row is about."""
    return Cell(*(row[f] for f in Cell._fields[:-1]), row.get("made_on", ""))


def made_by(eraser: str, made_on: str) -> tuple[str, str]:
    """Eraser and variant that a carried attack was made on.

    Args:
        eraser: what the attack is tried on.
        made_on: as a cell's.
    """
    other, _, variant = made_on.rpartition(".")
    return other or eraser, variant


def is_carried_across(cell: Cell) -> bool:
    """Whether the attack was made on another eraser's model."""
    return made_by(cell.eraser, cell.made_on)[0] != cell.eraser


def plan_cells(study: StudyOptions) -> list[Cell]:
    """All cells: what everything is compared with first, then one eraser after the other on every concept, so that a
    study which is stopped early has whole comparisons to show.

    Raises:
        UserError: a variant that the method does not have.
    """
    from excise.erasers import ERASERS

    asked, cells = (PLAIN, *study.attacks), []
    for concept in study.concepts:
        if study.silence:  # plain prompts alone: no eraser is attacked here
            silent = [("unpruned", 0), *(("random", draw) for draw in range(1, study.silence.draws + 1))]
            cells += [Cell(concept, SILENCED, variant, PLAIN, seed) for variant, seed in silent]
        references = [NOTHING, *([NEVER_SAW] if concept in study.never_saw else [])]
        cells += [Cell(concept, name, "unpruned", attack, 0) for name in references for attack in asked]
    for eraser, how in study.studied.items():
        if eraser in ERASERS and not ERASERS[eraser].maskable and {*how.variants, *how.once} != {"unpruned"}:
            raise UserError(
                f"{study.section}.erasers.{eraser}: this method has no P-X, so its only variant is unpruned."
            )
        for concept in study.concepts:
            for seed in how.seeds:
                variants = [*how.variants, *(how.once if seed == how.seeds[0] else [])]
                cells += [Cell(concept, eraser, variant, attack, seed) for variant in variants for attack in asked]
                pairs = [(made, tried) for made in variants for tried in variants if made != tried]
                cells += [Cell(concept, eraser, t, attack, seed, m) for attack in study.transfer for m, t in pairs]
    return cells + (_across(study, cells) if study.across else [])


def _across(study: StudyOptions, cells: list[Cell]) -> list[Cell]:
    """Every attack by transfer, made on each model of each eraser, tried on all models of the others, where concept and
    training seed are the same."""
    own = [c for c in cells if c.attack in study.transfer and c.eraser in study.studied and not c.made_on]
    return [
        tried._replace(made_on=f"{made.eraser}.{made.variant}")
        for tried in own
        for made in own
        if made.eraser != tried.eraser
        and (made.concept, made.attack, made.seed) == (tried.concept, tried.attack, tried.seed)
    ]
