"""Ablations of the mask on the tune split, and the search for the variation that robs most within a utility budget."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from excise.attacks import ATTACKS, AttackOptions, make_attack
from excise.cache import Cache
from excise.erasers import ERASERS, EraserOptions, make_method
from excise.errors import UserError, first_wrong, refuse_unknown, short
from excise.images import DrawOptions
from excise.masks import PruneOptions
from excise.models import ModelSpec
from excise.pipelines.erase.nodes import NeuronOptions
from excise.pipelines.names import PLAIN
from excise.pipelines.study_pruning.plan import NOTHING, Cell
from excise.pipelines.study_pruning.rows import deadline, made_once
from excise.pipelines.study_pruning.workshop import Settings, Workshop
from excise.prompts import PromptOptions

logger = logging.getLogger(__name__)
BASE, X, PLUS = "base model", "X", "X+"  # rows that are always there


class AblationOptions(BaseModel):
    """What is varied.

    Attributes:
        variations: name -> values laid over the parameter ``prune``; ``fixed: scored`` or ``fixed: random`` puts a mask
            in the place of the learned one.
        utility_budget: share of the retain prompts that the base model draws right which may be lost.
        hours: no variation is begun later than this; None for all of them. What is missing is made by a later run.
    """

    model_config = ConfigDict(extra="forbid")
    concepts: list[str] = Field(min_length=1)
    eraser: str
    attack: str
    utility_budget: float = Field(ge=0, le=1)
    prompts: PromptOptions
    draw: DrawOptions
    variations: dict[str, dict[str, Any]] = Field(min_length=1)
    hours: float | None = Field(None, gt=0)


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
    refuse_unknown("eraser", ablation.eraser, ERASERS)
    if not ERASERS[ablation.eraser].maskable:
        raise UserError(f"ablation.eraser: '{ablation.eraser}' has no P-X, so there is no mask to vary.")
    refuse_unknown("attack", ablation.attack, ATTACKS)
    options = EraserOptions.model_validate(erasers[ablation.eraser])
    attack = AttackOptions.model_validate(attacks[ablation.attack])
    make_method(options), make_attack(attack)
    known = {row["fingerprint"]: row for row in committed}
    makers: dict[str, Callable[[], dict]] = {}
    end = deadline(ablation.hours)
    for concept in ablation.concepts:
        for name, (variant, pruning) in _variations(ablation, prune).items():
            settings = Settings(
                model,
                ablation.prompts,
                {ablation.eraser: options},
                {ablation.attack: attack},
                pruning,
                neurons,
                ablation.draw,
                {},
                None,
                seed,
            )
            shop = Workshop(concept, settings, concepts, cache, run_info, tuning=True)
            eraser = NOTHING if name == BASE else ablation.eraser
            cells = [Cell(concept, eraser, variant, a, 0 if name == BASE else seed) for a in (PLAIN, ablation.attack)]
            makers[f"{len(makers):03d}-{concept}.{name.replace(' ', '-')}"] = _maker(
                name, shop, cells, cache, known, end
            )
    return makers, list(makers)


def _variations(ablation: AblationOptions, prune: PruneOptions) -> dict[str, tuple[str, PruneOptions]]:
    """Name -> variant and options."""
    found = {BASE: ("unpruned", prune), X: ("unpruned", prune), PLUS: ("plus", prune)}
    for name, changes in ablation.variations.items():
        if name in found:
            raise UserError(f"ablation.variations: '{name}' is a row that is always there, call yours otherwise.")
        if "/" in name or "\\" in name or len(name) > 64:  # a row's file is called by it
            raise UserError(
                f"ablation.variations: '{short(name)}' has a slash in it, or is too long: call it otherwise."
            )
        changes = dict(changes)
        variant = changes.pop("fixed", "learned")
        if variant not in ("learned", "scored", "random"):
            raise UserError(f"ablation.variations.{name}.fixed is '{variant}': it must be scored or random.")
        try:
            found[name] = variant, PruneOptions.model_validate(prune.model_dump() | changes)
        except ValueError as error:
            place, wrong = first_wrong(error)
            raise UserError(f"ablation.variations.{name}: {place} {wrong}.") from None
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
    plain, attacked = (shop.row(c) for c in cells)
    row = {"concept": plain["concept"], "variation": name, "eraser": plain["eraser"]}
    row |= {"n": plain["n"], "plain_hits": plain["hits"], "attacked_n": attacked["n"]}
    row |= {"attacked_hits": attacked["hits"], "any_hits": attacked["any_hits"]}
    kept = ("retain_near", "retain_near_n", "retain_far", "retain_far_n", "prune_rate", "mask_bytes")
    row |= {k: plain[k] for k in kept} | {k: attacked[k] for k in ("reactivation", "sensitivity")}
    return row | {"seconds": round(plain["seconds"] + attacked["seconds"], 1)}


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
    """For every concept the variation with the fewest hits under attack among those within the utility budget; the
    smaller mask where they are equal. None where no variation is within it."""
    chosen: dict[str, str | None] = {}
    for concept in ablation.concepts:
        part = {r["variation"]: r for r in rows if r["concept"] == concept}
        if BASE not in part:
            chosen[concept] = None
            continue
        floor = (1 - ablation.utility_budget) * _kept(part[BASE])
        fitting = [
            part[v] for v in ablation.variations if v in part and _kept(part[v]) >= floor and part[v]["attacked_n"]
        ]
        best = min(
            fitting,
            key=lambda r: (r["attacked_hits"] / r["attacked_n"], r["any_hits"], r["prune_rate"] or 0.0),
            default=None,
        )
        chosen[concept] = best["variation"] if best else None
    return chosen


def _kept(row: dict) -> int:
    return row["retain_near"] + row["retain_far"]


def write_ablations(rows: list[dict], chosen: dict, ablation: AblationOptions, run_info: dict) -> str:
    """``docs/ablations.md``."""
    parts = [
        "# What of the mask matters\n",
        f"P-{ablation.eraser.upper()} on the tune split, which no report reads: one training each, "
        f"{ablation.prompts.tune} prompts, attacked with {ablation.attack}. Written by `{run_info['command']}`. "
        "With so few prompts a difference of a few hits is no difference; this is a compass for choosing defaults, "
        "not a result.\n",
    ]
    planned = len(ablation.concepts) * (len(ablation.variations) + 3)
    if len(rows) < planned:
        parts.append(
            f"**{len(rows)} of {planned} rows are done.** The others are made when the command is given again.\n"
        )
    for concept in ablation.concepts:
        parts += [
            f"## {concept}\n",
            "| variation | plain: hits / n | attacked: hits / n | at least one image | retain near | retain far "
            "| pruned | reactivation |",
            "|" + "---|" * 8,
        ]
        for r in (r for r in rows if r["concept"] == concept):
            pruned = "" if r["prune_rate"] is None else f"{100 * r['prune_rate']:.1f} %"
            back = "" if r["reactivation"] is None else f"{r['reactivation']:.2f}"
            near, far = (f"{r[f'retain_{s}']} / {r[f'retain_{s}_n']}" for s in ("near", "far"))
            hits = f"{r['plain_hits']} / {r['n']} | {r['attacked_hits']} / {r['attacked_n']} | {r['any_hits']}"
            parts.append(f"| {r['variation']} | {hits} | {near} | {far} | {pruned} | {back} |")
        parts.append(_verdict(rows, concept, chosen[concept], ablation))
    return "\n".join(parts)


def _verdict(rows: list[dict], concept: str, chosen: str | None, ablation: AblationOptions) -> str:
    """The choice in a sentence, beside what it has to beat."""
    part = {r["variation"]: r for r in rows if r["concept"] == concept}
    budget = f"{100 * ablation.utility_budget:.0f} %"
    if chosen is None:
        return f"\nNo mask loses at most {budget} of what the base model draws right.\n"

    def hits(name: str) -> str:
        return f"{part[name]['attacked_hits']} of {part[name]['attacked_n']}"

    return (
        f"\nFewest hits under attack among the masks that lose at most {budget} of what the base model draws right: "
        f"**{chosen}**, {hits(chosen)}; the base model has {hits(BASE)}, X {hits(X)}, X+ {hits(PLUS)}.\n"
    )
