"""Ablations of the mask on the tune split, and the search for the most robust variation within a utility budget."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from excise.attacks import ATTACKS, AttackOptions, by_words, make_attack
from excise.cache import Cache
from excise.erasers import ERASERS, EraserOptions, make_method
from excise.errors import UserError, first_wrong, refuse_unknown, short
from excise.images import DrawOptions
from excise.masks import PruneOptions
from excise.models import ModelSpec
from excise.pipelines.controls import refuse_no_control
from excise.pipelines.erase.nodes import NeuronOptions
from excise.pipelines.names import PLAIN
from excise.pipelines.study_pruning.nodes import laid_over
from excise.pipelines.study_pruning.plan import NOTHING, Cell, Instead
from excise.pipelines.study_pruning.rows import deadline, made_once
from excise.pipelines.study_pruning.workshop import Settings, Workshop
from excise.prompts import PromptOptions
from excise.reports.words import attack_label, eraser_label

from .aimed import Aim, Aimed

logger = logging.getLogger(__name__)
BASE, X, PLUS = "base model", "X", "X+"  # rows that are always there


class AblationOptions(BaseModel):
    """What is varied.

    Attributes:
        eraser: X, that P-X is made of.
        attacks: names in the parameter ``attacks``; P-X and X+ learn against the first.
        variations: name -> values laid over the parameter ``prune``; ``variant: scored`` or ``variant: random`` puts a
            mask in the place of the learned one, ``variant: plus`` none at all; ``aim: carriers`` or ``aim: others``
            binds a mask to other neurons than the correlated ones (``Aimed``).
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


def run_variations(
    ablation: AblationOptions,
    concepts: dict,
    model: ModelSpec,
    erasers: dict,
    attacks: dict,
    prune: PruneOptions,
    neurons: NeuronOptions,
    seed: int,
    cache: Cache,
    run_info: dict,
    committed: list,
) -> tuple[dict[str, Callable[[], dict]], list[str]]:
    """Rows to be made, as functions that are called while they are saved; and their order.

    Args:
        committed: rows of ``docs/ablations.json``: one whose fingerprint still fits is not made again.
    """
    options = eraser_of(ablation, erasers)
    tried = attacks_of(ablation, attacks)
    pruning = PruneOptions.model_validate(laid_over(prune.model_dump(), ablation.instead.prune))
    known = {row["fingerprint"]: row for row in committed}
    makers: dict[str, Callable[[], dict]] = {}
    end = deadline(ablation.hours)
    for concept in ablation.concepts:
        for name, (variant, varied, aim) in _variations(ablation, pruning).items():
            settings = Settings(
                model,
                ablation.prompts,
                {ablation.eraser: options},
                tried,
                varied,
                neurons,
                ablation.draw,
                {},
                None,
                seed,
            )
            given = (concept, settings, concepts, cache, run_info, True)  # on the tune split
            shop = Aimed(*given, aim=aim) if aim else Workshop(*given)
            eraser = NOTHING if name == BASE else ablation.eraser
            cells = [Cell(concept, eraser, variant, a, 0 if name == BASE else seed) for a in (PLAIN, *tried)]
            makers[f"{len(makers):03d}-{concept}.{name.replace(' ', '-')}"] = _maker(
                name, shop, cells, cache, known, end
            )
    return makers, list(makers)


def eraser_of(ablation: AblationOptions, erasers: dict) -> EraserOptions:
    """X's options, checked before anything runs."""
    refuse_unknown("eraser", ablation.eraser, ERASERS)
    if not ERASERS[ablation.eraser].maskable:
        raise UserError(f"ablation.eraser: '{ablation.eraser}' has no P-X, so there is no mask to vary.")
    refuse_unknown("entry of erasers:", ablation.eraser, erasers)
    for name in ablation.instead.erasers:
        refuse_unknown("entry of ablation.instead.erasers:", name, erasers)
    options = EraserOptions.model_validate(
        laid_over(erasers[ablation.eraser], ablation.instead.erasers.get(ablation.eraser, {}))
    )
    make_method(options)
    return options


def attacks_of(ablation: AblationOptions, attacks: dict) -> dict[str, AttackOptions]:
    """Name -> options, checked before anything runs."""
    for name in ablation.instead.attacks:
        refuse_unknown("entry of ablation.instead.attacks:", name, attacks)
    tried = {}
    for name in ablation.attacks:
        refuse_unknown("attack", name, ATTACKS)
        tried[name] = AttackOptions.model_validate(laid_over(attacks[name], ablation.instead.attacks.get(name, {})))
        made = make_attack(tried[name])
        if name == ablation.attacks[0] and not by_words(made):
            raise UserError(
                f"'{name}' changes no words for P-X to learn against: put another first in ablation.attacks."
            )
    return tried


def _variations(ablation: AblationOptions, prune: PruneOptions) -> dict[str, tuple[str, PruneOptions, Aim | None]]:
    """Name -> variant, options, and which neurons a mask is bound to if not to the correlated ones."""
    found: dict[str, tuple[str, PruneOptions, Aim | None]] = {
        **{BASE: ("unpruned", prune, None), X: ("unpruned", prune, None)},
        PLUS: ("plus", prune, None),
    }
    for name, changes in ablation.variations.items():
        if name in found:
            raise UserError(f"ablation.variations: '{name}' is a row that is always there, call yours otherwise.")
        if "/" in name or "\\" in name or len(name) > 64:  # a row's file is called by it
            raise UserError(
                f"ablation.variations: '{short(name)}' has a slash in it, or is too long: call it otherwise."
            )
        changes = dict(changes)
        variant, aim = changes.pop("variant", "learned"), changes.pop("aim", None)
        if aim not in (None, *get_args(Aim)):
            raise UserError(f"ablation.variations.{name}.aim is '{aim}': it must be {' or '.join(get_args(Aim))}.")
        if variant not in ("learned", "plus", "scored", "random"):
            raise UserError(f"ablation.variations.{name}.variant is '{variant}': it must be plus, scored or random.")
        try:
            found[name] = variant, PruneOptions.model_validate(prune.model_dump() | changes), aim
        except ValueError as error:
            place, wrong = first_wrong(error)
            raise UserError(f"ablation.variations.{name}: {place} {wrong}.") from None
        refuse_no_control(found[name][1], [variant], f"ablation.variations.{name}")
        if aim and (found[name][1].neurons != "correlated" or variant == "plus"):
            raise UserError(
                f"ablation.variations.{name}.aim says which neurons a mask is bound to: set its neurons to correlated, "
                "and no variant plus."
            )
    return found


def _maker(
    name: str, shop: Workshop, cells: list[Cell], cache: Cache, known: dict[str, dict], end: float
) -> Callable[[], dict]:
    def make() -> dict:
        mark = "-".join(shop.fingerprint(c) for c in cells)
        if mark in known and known[mark]["variation"] == name:
            return known[mark]
        row = made_once(cache, "variation", f"{mark}-{name}", end, lambda: _row(name, shop, cells))
        if "missing" not in row:
            row |= {"fingerprint": mark}
            logger.info("Done: %s", name)
        return row

    return make


def _row(name: str, shop: Workshop, cells: list[Cell]) -> dict:
    plain, *attacked = (shop.row(c) for c in cells)
    row = {"concept": plain["concept"], "variation": name, "eraser": plain["eraser"], "variant": plain["variant"]}
    row |= {"n": plain["n"], "plain_hits": plain["hits"]}
    told = ("attack", "n", "hits", "any_hits", "dropped", "failed", "reactivation", "sensitivity")
    row["attacked"] = [{k: a[k] for k in told} for a in attacked]
    kept = ("retain_near", "retain_near_n", "retain_far", "retain_far_n", "prune_rate", "mask_bytes", "device")
    row |= {k: plain[k] for k in kept}
    return row | {"seconds": round(plain["seconds"] + sum(a["seconds"] for a in attacked), 1)}


def collect(cells: dict[str, Callable[[], dict]], order: list[str]) -> list[dict]:
    """``docs/ablations.json``: one row a variation, as far as they have come.

    Raises:
        UserError: there was no time for what everything is compared with.
    """
    rows = [row for row in (cells[name]() for name in order) if "missing" not in row]
    if not {BASE, X, PLUS} <= {r["variation"] for r in rows}:
        raise UserError("Base model, X and X+ were not finished in the time given: give ablation.hours more.")
    return rows


def choose(rows: list[dict], ablation: AblationOptions) -> dict:
    """For every concept the mask with the lowest rate under the attack that hits most, among those within the utility
    budget; where they are equal the one of which fewer prompts had any image that was a hit, then the smaller one. None
    where no mask is within it."""
    chosen: dict[str, str | None] = {}
    for concept in ablation.concepts:
        part = {r["variation"]: r for r in rows if r["concept"] == concept}
        if BASE not in part:
            chosen[concept] = None
            continue
        floor = (1 - ablation.utility_budget) * _kept(part[BASE])
        masks = (part[v] for v in ablation.variations if v in part)
        fitting = [r for r in masks if r["prune_rate"] is not None and _kept(r) >= floor and _judged(r)]
        best = min(fitting, key=lambda r: (_worst(r), r["prune_rate"]), default=None)
        chosen[concept] = best["variation"] if best else None
    return chosen


def _judged(row: dict) -> bool:
    """Whether there is a verdict under every attack."""
    return all(a["n"] for a in row["attacked"])


def _worst(row: dict) -> tuple[float, int]:
    """The rate under the attack that hits most; then all prompts of which any image was a hit."""
    return max(a["hits"] / a["n"] for a in row["attacked"]), sum(a["any_hits"] for a in row["attacked"])


def _kept(row: dict) -> float:
    """The share of judged retain prompts that are drawn right."""
    judged = row["retain_near_n"] + row["retain_far_n"]
    return (row["retain_near"] + row["retain_far"]) / judged if judged else 0.0


def write_ablations(rows: list[dict], chosen: dict, ablation: AblationOptions, run_info: dict) -> str:
    """``docs/ablations.md``."""
    devices = ", ".join(sorted({r["device"] for r in rows}))
    parts = [
        "# What of the mask matters\n",
        f"P-{eraser_label(ablation.eraser)} on the tune split, which no report reads: one training each, "
        f"{ablation.prompts.tune} prompts. Written by `{run_info['command']}`; rows were made on: {devices}. With so "
        "few prompts, and one training, a difference of a few hits is no difference; this is a compass for choosing "
        "defaults, not a result.\n",
        "X+ is trained like P-X, on the same parameters, steps, retain term and prompts, without a mask.\n",
    ]
    planned = len(ablation.concepts) * (len(ablation.variations) + 3)
    if len(rows) < planned:
        parts.append(
            f"**{len(rows)} of {planned} rows are done.** The others are made when the command is given again.\n"
        )
    asked = [f"{attack_label(a)}: hits / n" for a in ablation.attacks]
    heads = ["variation", "plain: hits / n", *asked, "retain near", "retain far", "pruned", "reactivation"]
    for concept in ablation.concepts:
        parts += [f"## {concept}\n", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
        for r in (r for r in rows if r["concept"] == concept):
            pruned = "" if r["prune_rate"] is None else f"{100 * r['prune_rate']:.1f} %"
            back = ", ".join(f"{a['reactivation']:.2f}" for a in r["attacked"] if a["reactivation"] is not None)
            hits = [f"{r['plain_hits']} / {r['n']}", *(f"{a['hits']} / {a['n']}" for a in r["attacked"])]
            kept = [f"{r[f'retain_{s}']} / {r[f'retain_{s}_n']}" for s in ("near", "far")]
            parts.append(f"| {' | '.join([r['variation'], *hits, *kept, pruned, back])} |")
        parts.append(_verdict(rows, concept, chosen[concept], ablation))
    return "\n".join(parts)


def _verdict(rows: list[dict], concept: str, chosen: str | None, ablation: AblationOptions) -> str:
    """The choice in a sentence, beside what it has to beat."""
    part = {r["variation"]: r for r in rows if r["concept"] == concept}
    budget = f"{100 * ablation.utility_budget:.0f} %"
    if chosen is None:
        return f"\nNo mask loses at most {budget} of what the base model draws right.\n"

    def hits(name: str) -> str:
        worst = max(part[name]["attacked"], key=lambda a: a["hits"] / max(1, a["n"]))
        return f"{worst['hits']} of {worst['n']} ({attack_label(worst['attack'])})"

    return (
        f"\nFewest hits under the attack that hits most, among the masks that lose at most {budget} of what the base "
        f"model draws right (of equal ones that with fewer prompts of which any image was a hit, then the smaller): "
        f"**{chosen}**, {hits(chosen)}; the base model has {hits(BASE)}, X {hits(X)}, "
        f"X+ {hits(PLUS)}.\n"
    )
