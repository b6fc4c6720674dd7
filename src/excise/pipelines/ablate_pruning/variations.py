"""The rows of an ablation: X, X+ and P-X as they are, and what each variation does otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from excise.attacks import ATTACKS, AttackOptions, by_words, make_attack
from excise.erasers import ERASERS, EraserOptions, make_method
from excise.errors import UserError, checked, first_wrong, refuse_unknown, short
from excise.images import DrawOptions
from excise.masks import PruneOptions
from excise.pipelines.controls import refuse_no_control
from excise.pipelines.study_pruning.nodes import laid_over
from excise.pipelines.study_pruning.plan import Instead
from excise.prompts import PromptOptions

from .aimed import Aim

BASE, X, PLUS = "base model", "X", "X+"  # rows that are always there
MASKS = ("learned", "scored", "random")


class AblationOptions(BaseModel):
    """What is varied.

    Attributes:
        concepts: of every variation that names no others.
        eraser: X, that P-X is made of.
        attacks: names in the parameter ``attacks``; P-X and X+ learn against the first.
        variations: name -> values laid over the parameter ``prune``, and what ``Said`` lists.
        utility_budget: share of the retain prompts that the base model draws right which may be lost.
        instead: laid over the parameters ``erasers``, ``attacks`` and ``prune``, as in a study.
        tuned_for: name of the model that all of this is meant for, as in a study.
        hours: no variation is begun later than this; None for all of them. What is missing is made by a later run.
    """

    model_config = ConfigDict(extra="forbid")
    concepts: list[str] = Field(min_length=1)
    eraser: str
    attacks: list[str] = Field(min_length=1)
    utility_budget: float = Field(ge=0, le=1)
    prompts: PromptOptions
    draw: DrawOptions
    variations: dict[str, dict[str, Any]] = Field(min_length=1)
    instead: Instead = Field(default_factory=lambda: Instead())
    tuned_for: str = ""
    hours: float | None = Field(None, gt=0)

    @field_validator("concepts", "attacks", mode="before")
    @classmethod
    def _one_or_more(cls, names: object) -> object:
        """One name may stand alone: on the command line there are no lists."""
        return [names] if isinstance(names, str) else names


class Said(BaseModel):
    """What a variation may say beside values of the parameter ``prune``.

    Attributes:
        variant: ``scored`` or ``random``, another mask than the learned one; ``plus``, none at all (X+); ``unpruned``,
            X itself.
        aim: the neurons that a mask of ``neurons: correlated`` is bound to in the place of these (``Aimed``).
        eraser: values laid over X's options; what is made of X is made of this one.
        seeds: of the trainings, a row each; None for the run's own.
        concepts: in the place of ``AblationOptions.concepts``.
    """

    model_config = ConfigDict(extra="forbid")
    variant: Literal["learned", "plus", "scored", "random", "unpruned"] = "learned"
    aim: Aim | None = None
    eraser: dict[str, Any] = {}
    seeds: list[int] | None = Field(None, min_length=1)
    concepts: list[str] | None = Field(None, min_length=1)

    @field_validator("concepts", "seeds", mode="before")
    @classmethod
    def _one_or_more(cls, given: object) -> object:
        """One may stand alone."""
        return [given] if isinstance(given, (str, int)) else given


@dataclass(frozen=True)
class Row:
    """What a row is of.

    Attributes:
        seed: of the training; 0 for the base model.
    """

    concept: str
    name: str
    said: Said
    eraser: EraserOptions
    prune: PruneOptions
    seed: int


def rows_of(ablation: AblationOptions, erasers: dict, prune: dict, seed: int) -> list[Row]:
    """All rows in their order, a concept after the other.

    Args:
        erasers, prune: the parameters of these names.
        seed: the run's.

    Raises:
        UserError: a variation says what does not exist, or does not fit together.
    """
    options = eraser_of(ablation, erasers)
    pruning = PruneOptions.model_validate(laid_over(prune, ablation.instead.prune))
    always = {BASE: Said(variant="unpruned"), X: Said(variant="unpruned"), PLUS: Said(variant="plus")}
    varied = {name: _read(name, changes, pruning, options) for name, changes in ablation.variations.items()}
    known = {name: (said, pruning, options) for name, said in always.items()} | varied
    return [
        Row(concept, name, said, made_of, pruned, training)
        for concept in concepts_of(ablation)
        for name, (said, pruned, made_of) in known.items()
        if name in always or concept in (said.concepts or ablation.concepts)
        for training in ([0] if name == BASE else said.seeds or [seed])
    ]


def concepts_of(ablation: AblationOptions) -> list[str]:
    """All concepts that a row is of."""
    told = (changes.get("concepts") or [] for changes in ablation.variations.values())
    own = [[names] if isinstance(names, str) else names for names in told]
    return list(dict.fromkeys([*ablation.concepts, *(name for names in own for name in names)]))


def masks_of(ablation: AblationOptions, erasers: dict, prune: dict) -> Iterator[tuple[str, PruneOptions]]:
    """Where it says how a mask is made, and how."""
    rows = {row.name: row for row in rows_of(ablation, erasers, prune, 0) if row.said.variant in MASKS}
    return ((f"ablation.variations.{name}", row.prune) for name, row in rows.items())


def eraser_of(ablation: AblationOptions, erasers: dict) -> EraserOptions:
    """X's options, checked before anything runs."""
    refuse_unknown("eraser", ablation.eraser, ERASERS)
    if not ERASERS[ablation.eraser].maskable:
        raise UserError(f"ablation.eraser: '{ablation.eraser}' has no P-X, so there is no mask to vary.")
    refuse_unknown("entry of erasers:", ablation.eraser, erasers)
    for name in ablation.instead.erasers:
        refuse_unknown("entry of ablation.instead.erasers:", name, erasers)
    laid = laid_over(erasers[ablation.eraser], ablation.instead.erasers.get(ablation.eraser, {}))
    options = checked(EraserOptions, laid, f"erasers.{ablation.eraser} with ablation.instead.erasers over it")
    make_method(options)
    return options


def attacks_of(ablation: AblationOptions, attacks: dict) -> dict[str, AttackOptions]:
    """Name -> options, checked before anything runs."""
    for name in ablation.instead.attacks:
        refuse_unknown("entry of ablation.instead.attacks:", name, attacks)
    tried = {}
    for name in ablation.attacks:
        refuse_unknown("attack", name, ATTACKS)
        laid = laid_over(attacks[name], ablation.instead.attacks.get(name, {}))
        tried[name] = checked(AttackOptions, laid, f"attacks.{name} with ablation.instead.attacks over it")
        made = make_attack(tried[name])
        if name == ablation.attacks[0] and not by_words(made):
            raise UserError(
                f"'{name}' changes no words for P-X to learn against: put another first in ablation.attacks."
            )
    return tried


def _read(
    name: str, changes: dict[str, Any], pruning: PruneOptions, options: EraserOptions
) -> tuple[Said, PruneOptions, EraserOptions]:
    """A variation: what it says, how its mask is made, and of which X."""
    if name in (BASE, X, PLUS):
        raise UserError(f"ablation.variations: '{name}' is a row that is always there, call yours otherwise.")
    if "/" in name or "\\" in name or len(name) > 64:  # a row's file is called by it
        raise UserError(f"ablation.variations: '{short(name)}' has a slash in it, or is too long: call it otherwise.")
    own = {k: v for k, v in changes.items() if k in Said.model_fields}
    values = {k: v for k, v in changes.items() if k not in own}
    try:
        said = Said.model_validate(own)
        pruned = PruneOptions.model_validate(pruning.model_dump() | values)
        made_of = EraserOptions.model_validate(laid_over(options.model_dump(), said.eraser))
    except ValueError as error:
        place, wrong = first_wrong(error)
        raise UserError(f"ablation.variations.{name}: {place} {wrong}.") from None
    if made_of.method != options.method:
        raise UserError(f"ablation.variations.{name}.eraser names another method: X is ablation.eraser in all rows.")
    make_method(made_of)
    if said.variant in MASKS:
        refuse_no_control(pruned, [said.variant], f"ablation.variations.{name}")
    if said.variant == "unpruned" and values:
        raise UserError(
            f"ablation.variations.{name} is X, which no mask is laid on, so that {next(iter(values))} does nothing: "
            "take it out, or give values of X as eraser."
        )
    if said.aim and (pruned.neurons != "correlated" or said.variant not in MASKS):
        raise UserError(
            f"ablation.variations.{name}.aim says which neurons a mask is bound to: set its neurons to correlated, "
            "and its variant to that of a mask."
        )
    return said, pruned, made_of
