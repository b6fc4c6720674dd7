"""The leaderboard: one HTML file that needs nothing else, sortable, a table a concept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from excise.pipelines.names import PLAIN
from excise.pipelines.study_pruning.naming import name_of
from excise.pipelines.study_pruning.trainings import several_trainings
from excise.reports.page import data_uri
from excise.reports.words import about_attack, attack_label, method_of

from .standing import (
    REFERENCES,
    Share,
    lacking,
    one_effort,
    own_rows,
    rank_on,
    retained,
    share_of,
    strongest_name,
    table_of,
    worst,
)
from .typed import BY_WORDS, typed_share

COLOURS = {"nothing erased": "#6b6b76", "pruned": "#0072b2", "not pruned": "#d55e00"}


def leaderboard_page(rows: list[dict], command: str, planned: int, model: str) -> str:
    """Models ranked by the attack by words that each resists least; references (base, never saw it) stand apart."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    table = table_of(rows)
    here = FileSystemLoader(Path(__file__).parent)
    page = Environment(loader=here, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    done = not table.empty
    mixed: dict[str, list[str]] = {}
    for concept, eraser, variant, _ in several_trainings(own_rows(rows)):
        mixed.setdefault(concept, []).append(name_of({"eraser": eraser, "variant": variant}))
    parts = table.groupby("concept", sort=False) if done else []
    concepts = [_concept(str(name), part) | {"mixed": mixed.get(str(name), [])} for name, part in parts]
    attacks = [a for a in table["attack"].unique() if a != PLAIN] if done else []
    threats = table.drop_duplicates("attack").set_index("attack")["threat_model"] if done else {}
    return page.get_template("leaderboard.html").render(
        model=model,
        command=command,
        done=len(rows),
        planned=planned,
        concepts=concepts,
        devices=sorted(table["device"].unique()) if done else ["nothing"],
        about=[(attack_label(a), threats[a], about_attack(method_of(a))) for a in attacks],
    )


def _concept(name: str, part: pd.DataFrame) -> dict:
    attacks, models = list(part["attack"].unique()), []
    ranked, controls = rank_on(part), rank_on(part, controls=True)
    by_text = rank_on(part, BY_WORDS)
    for label, cells in part.groupby("name", sort=False):
        reference = cells["eraser"].iloc[0] in REFERENCES
        typed = worst(cells, by_text, typed_share)
        plain = worst(cells, [PLAIN])
        weakest, luck, kept = worst(cells, ranked), worst(cells, controls), retained(cells)
        tried = cells[~cells["idle"]]
        rates = [share_of(tried[tried["attack"] == a]) if (tried["attack"] == a).any() else None for a in attacks]
        models.append(
            {
                "name": label,
                "reference": reference,
                "worst": weakest[1] if weakest else None,
                "worst_attack": strongest_name(weakest, plain),
                "luck": luck[1] if luck else None,
                "luck_attack": strongest_name(luck, plain),
                "typed": typed[1] if typed else None,
                "typed_attack": strongest_name(typed, plain),
                "lacking": [attack_label(a) for a in lacking(part, str(label))],
                "retain": kept,
                "rates": rates,
                "seeds": int(cells["seed"].nunique()),
            }
        )
    order = sorted(models, key=lambda m: (m["reference"], _rate(m["worst"]), -(_rate(m["retain"]))))
    return {
        "name": name,
        "kind": part["kind"].iloc[0],
        "attacks": [attack_label(a) + ("¹" if one_effort(part[part["attack"] == a]) else "") for a in attacks],
        "ranked": [attack_label(a) for a in ranked],
        "models": order,
        "pareto": data_uri(pareto_figure(order)),
    }


def _rate(share: Share | None) -> float:
    return share.rate if share is not None and share.rate is not None else 2.0


def pareto_figure(models: list[dict]) -> Image.Image:
    """The success of the worst attack by words against what is kept; nobody beats those on the line in both."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    shown = [m for m in models if m["worst"] is not None and m["worst"].n and m["retain"].n]
    told: set[str] = set()
    for m in shown:
        x, y = 100 * m["retain"].rate, 100 * m["worst"].rate
        kind = "nothing erased" if m["reference"] else "pruned" if m["name"].startswith("P-") else "not pruned"
        colour = COLOURS[kind]
        axis.plot(x, y, "o", color=colour, ms=7, label=None if kind in told else kind)
        told.add(kind)
        axis.plot([x, x], [100 * m["worst"].low, 100 * m["worst"].high], color=colour, alpha=0.4, lw=2)
        axis.annotate(m["name"], (x, y), xytext=(6, 5), textcoords="offset points", fontsize=8)
    front = pareto([(m["retain"].rate, m["worst"].rate) for m in shown if not m["reference"]])
    axis.plot([100 * x for x, _ in front], [100 * y for _, y in front], "--", color="#1c1c22", lw=1, zorder=0)
    if told:
        axis.legend(fontsize=8, frameon=False)
    axis.set_xlabel("retain prompts drawn right")
    axis.set_ylabel("success of the strongest attack by words")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter("{x:.0f} %")
    axis.set_ylim(-4, 104)
    axis.grid(color="#e3e3ea")
    axis.spines[["top", "right"]].set_visible(False)
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())


def pareto(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those of (kept, broken) that no other beats in one and equals or beats in the other; from most kept to least."""
    front: list[tuple[float, float]] = []
    for kept, broken in sorted(set(points), key=lambda p: (-p[0], p[1])):
        if not front or broken < front[-1][1]:
            front.append((kept, broken))
    return front
