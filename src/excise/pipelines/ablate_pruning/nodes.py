"""Ablations of the mask on the tune split, and the search for the most robust variation within a utility budget."""

from __future__ import annotations

import logging
from collections.abc import Callable

from excise.cache import Cache
from excise.errors import UserError
from excise.masks import PruneOptions
from excise.models import ModelSpec
from excise.pipelines.erase.nodes import NeuronOptions
from excise.pipelines.names import PLAIN
from excise.pipelines.study_pruning.plan import NOTHING, Cell
from excise.pipelines.study_pruning.rows import deadline, made_once
from excise.pipelines.study_pruning.workshop import Settings, Workshop
from excise.reports.words import attack_label, eraser_label

from .aimed import Aimed
from .variations import BASE, PLUS, AblationOptions, Row, X, attacks_of, concepts_of, rows_of

logger = logging.getLogger(__name__)
TYPED = ("typed_n", "typed_hits", "typed_verdicts")  # of attacks by words


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
    tried = attacks_of(ablation, attacks)
    known = {row["fingerprint"]: row for row in committed}
    makers: dict[str, Callable[[], dict]] = {}
    end = deadline(ablation.hours)
    for row in rows_of(ablation, erasers, prune.model_dump(), seed):
        settings = Settings(
            model,
            ablation.prompts,
            {ablation.eraser: row.eraser},
            tried,
            row.prune,
            neurons,
            ablation.draw,
            {},
            None,
            seed,
        )
        given = (row.concept, settings, concepts, cache, run_info, True)  # on the tune split
        shop = Aimed(*given, aim=row.said.aim) if row.said.aim else Workshop(*given)
        eraser = NOTHING if row.name == BASE else ablation.eraser
        cells = [Cell(row.concept, eraser, row.said.variant, a, row.seed) for a in (PLAIN, *tried)]
        place = f"{len(makers):03d}-{row.concept}.{row.name.replace(' ', '-')}"
        makers[place] = _maker(row, shop, cells, cache, known, end)
    return makers, list(makers)


def _maker(
    planned: Row, shop: Workshop, cells: list[Cell], cache: Cache, known: dict[str, dict], end: float
) -> Callable[[], dict]:
    name, seed = planned.name, planned.seed

    def make() -> dict:
        mark = "-".join(shop.fingerprint(c) for c in cells)
        if mark in known and known[mark]["variation"] == name:
            return known[mark] | {"seed": seed}
        row = made_once(cache, "variation", f"{mark}-{name}", end, lambda: _row(name, shop, cells))
        if "missing" not in row:
            row |= {"seed": seed, "fingerprint": mark}
            logger.info("Done: %s of %s, training %d", name, planned.concept, seed)
        return row

    return make


def _row(name: str, shop: Workshop, cells: list[Cell]) -> dict:
    plain, *attacked = (shop.row(c) for c in cells)
    row = {"concept": plain["concept"], "variation": name, "eraser": plain["eraser"], "variant": plain["variant"]}
    row |= {"n": plain["n"], "plain_hits": plain["hits"], "plain_verdicts": plain["verdicts"]}
    told = ("attack", "n", "hits", "any_hits", "verdicts", "dropped", "failed", "reactivation", "sensitivity")
    row["attacked"] = [{k: a[k] for k in told} | {k: a[k] for k in TYPED if k in a} for a in attacked]
    kept = ("retain_near", "retain_near_n", "retain_far", "retain_far_n", "prune_rate", "mask_bytes", "device")
    row |= {k: plain[k] for k in kept} | {"processor": plain["provenance"].get("device", {}).get("name")}
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
    where no mask is within it. Of several trainings the first is compared; P-X of another X is not, nor is a row of
    another kind of processor than X's, on which the same seed trains another one."""
    chosen: dict[str, str | None] = {}
    for concept in concepts_of(ablation):
        part = _first_of(rows, concept)
        if not {BASE, X, PLUS} <= part.keys():
            chosen[concept] = None
            continue
        floor = (1 - ablation.utility_budget) * _kept(part[BASE])
        own = (v for v, said in ablation.variations.items() if v in part and not said.get("eraser"))
        masks = (part[v] for v in own if _made_on(part[v]) == _made_on(part[X]))
        fitting = [r for r in masks if r["prune_rate"] is not None and _kept(r) >= floor and _judged(r)]
        best = min(fitting, key=lambda r: (_worst(r), r["prune_rate"]), default=None)
        chosen[concept] = best["variation"] if best else None
    return chosen


def _first_of(rows: list[dict], concept: str) -> dict[str, dict]:
    """Variation -> its first row: where there are several trainings others have one only."""
    return {r["variation"]: r for r in reversed(rows) if r["concept"] == concept}


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


def write_ablations(rows: list[dict], chosen: dict, order: list[str], ablation: AblationOptions, run_info: dict) -> str:
    """``docs/ablations.md``."""
    kinds = sorted({_made_on(r) for r in rows})
    parts = [
        "# What of the mask matters\n",
        f"P-{eraser_label(ablation.eraser)} on the tune split, which no report reads: {ablation.prompts.tune} prompts, "
        f"and the training whose seed is told. Written by `{run_info['command']}`; rows were made on: "
        f"{', '.join(kinds)}. With so few prompts, and mostly one training, a difference of a few hits is no "
        "difference; this is a compass for choosing defaults, not a result.\n",
        "X+ is trained like P-X, on the same parameters, steps, retain term and prompts, without a mask.\n",
    ]
    if len(kinds) > 1:
        parts.append(
            "On another kind of processor the same seed trains another X, so that rows of two kinds differ as those of "
            "two trainings do: the last column says which they are, and no row of another kind than X's is chosen.\n"
        )
    if len(rows) < len(order):
        parts.append(
            f"**{len(rows)} of {len(order)} rows are done.** The others are made when the command is given again.\n"
        )
    asked = [f"{attack_label(a)}: hits / n" for a in ablation.attacks]
    heads = ["variation", "seed", "plain: hits / n", *asked, "retain near", "retain far", "pruned", "reactivation"]
    heads += ["made on"] if len(kinds) > 1 else []
    for concept in concepts_of(ablation):
        parts += [f"## {concept}\n", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
        for r in (r for r in rows if r["concept"] == concept):
            pruned = "" if r["prune_rate"] is None else f"{100 * r['prune_rate']:.1f} %"
            back = ", ".join(f"{a['reactivation']:.2f}" for a in r["attacked"] if a["reactivation"] is not None)
            hits = [f"{r['plain_hits']} / {r['n']}", *(f"{a['hits']} / {a['n']}" for a in r["attacked"])]
            kept = [f"{r[f'retain_{s}']} / {r[f'retain_{s}_n']}" for s in ("near", "far")]
            cells = [r["variation"], str(r["seed"] or ""), *hits, *kept, pruned, back]
            cells += [_made_on(r)] if len(kinds) > 1 else []
            parts.append(f"| {' | '.join(cells)} |")
        parts += [_verdict(rows, concept, chosen[concept], ablation), *_no_controls(rows, concept, ablation)]
    return "\n".join(parts)


def _no_controls(rows: list[dict], concept: str, ablation: AblationOptions) -> list[str]:
    """Random masks that are not as large as the learned one whose control they are, and so were made from another."""
    part, lines = _first_of(rows, concept), []
    for name, said in ablation.variations.items():
        if said.get("variant") != "random" or name not in part:
            continue
        alike = {k: v for k, v in said.items() if k != "variant"}
        for other in (v for v, told in ablation.variations.items() if told == alike and v in part):
            if part[other]["mask_bytes"] != part[name]["mask_bytes"]:
                lines.append(
                    f"*{name}* is not as large as *{other}* ({part[name]['mask_bytes']} and "
                    f"{part[other]['mask_bytes']} bytes), so that it was made from another training of it.\n"
                )
    return lines


def _made_on(row: dict) -> str:
    """The kind of processor; rows of earlier versions do not say."""
    return row.get("processor") or f"{row.get('device')} (which is not told)"


def _verdict(rows: list[dict], concept: str, chosen: str | None, ablation: AblationOptions) -> str:
    """The choice in a sentence, beside what it has to beat."""
    part = _first_of(rows, concept)
    budget = f"{100 * ablation.utility_budget:.0f} %"
    if chosen is None:
        if not {BASE, X, PLUS} <= part.keys():
            return "\nBase model, X and X+ are not all made yet, so that no mask is chosen.\n"
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
