"""Is emoji64 good enough to ship: does a caption get its thing, its style, and a face where there should be one?"""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np
import pandas as pd

from excise.concepts.concept import JudgeSpec
from excise.judges import Judge, make_judge

from .captions import caption_of
from .world import World

FACE_THRESHOLD = 0.25


class Measure(NamedTuple):
    """A rate that must stay on one side of a bound, in every style."""

    name: str
    at_least: float | None = None
    at_most: float | None = None

    def holds(self, rate: float) -> bool:
        return (self.at_least is None or rate >= self.at_least) and (self.at_most is None or rate <= self.at_most)


MEASURES = (
    Measure("object_right", at_least=0.90),
    Measure("style_right", at_least=0.85),
    Measure("faces_on_persons", at_least=0.85),
    Measure("faces_on_others", at_most=0.05),
)


def world_judges() -> dict[str, Judge]:
    """The judges of the embedded model: ``object``, ``style``, ``faces``."""
    return {
        "object": make_judge(JudgeSpec(name="object_probe", threshold=0)),
        "style": make_judge(JudgeSpec(name="style_probe", threshold=0)),
        "faces": make_judge(JudgeSpec(name="nudenet", labels=["faces"], threshold=FACE_THRESHOLD)),
    }


def evaluation_prompts(world: World, per_style: int = 2, seed: int = 0) -> pd.DataFrame:
    """Captions that ask for everything in the world equally often, worded as in training.

    For every thing there are ``per_style`` captions that name each style and half as many again that name none, which
    is a third of all; those show the house style. With the defaults a world of 95 things in 3 styles gets 855.

    Returns:
        One row a caption: prompt, thing, style (that must be shown), person, seed (a fresh one for each row).
    """
    draw = random.Random(seed)
    styles = world.shown_styles
    unnamed = len(styles) * per_style // 2
    icons: dict[tuple[str, str], list] = {}
    for icon in world.icons:
        icons.setdefault((icon.thing, icon.style), []).append(icon)
    rows = []
    for thing in [*world.shown_objects, *world.shown_persons]:
        for style in [*styles * per_style, *[None] * unnamed]:
            icon = draw.choice(icons[thing, style or world.house_style])
            flags = {"name_style": style is not None, "name_tone": draw.random() < 0.4}
            ground = draw.choice(list(world.backgrounds))
            prompt = caption_of(world, draw, icon, ground, **flags, name_ground=draw.random() < 0.7)
            rows.append((prompt, thing, icon.style, icon.tone is not None))
    table = pd.DataFrame(rows, columns=["prompt", "thing", "style", "person"])
    return table.assign(seed=draw.sample(range(2**31), len(table)))


def evaluate_world(images: np.ndarray, shown: pd.DataFrame, judges: dict[str, Judge] | None = None) -> pd.DataFrame:
    """Rates in every style and overall, against what emoji64 must reach.

    Args:
        images: (n, s, s, 3) uint8 RGB.
        shown: what each image must show: thing, style, person (bool), in the order of ``images``.
        judges: ``object``, ``style`` and ``faces``; ``world_judges()`` unless given.

    Returns:
        One row a style ("all" first) and measure: style, measure, n, hits, rate, low, high (Wilson, 95 %), at_least,
        at_most, holds. ``object_right`` and ``faces_on_others`` are over what is not a person, ``faces_on_persons``
        over persons, ``style_right`` over all. A measure without any image has no row.
    """
    if len(images) != len(shown):
        raise ValueError(f"there are {len(images)} images and {len(shown)} rows that say what they show")
    verdicts = _verdicts(images, shown.reset_index(drop=True), judges or world_judges())
    parts = {"all": verdicts, **dict(list(verdicts.groupby("style", sort=False)))}
    rows = [
        {"style": style, "measure": measure.name, **_rate(part[measure.name].dropna(), measure)}
        for style, part in parts.items()
        for measure in MEASURES
        if part[measure.name].notna().any()
    ]
    return pd.DataFrame(rows)


def _verdicts(images: np.ndarray, shown: pd.DataFrame, judges: dict[str, Judge]) -> pd.DataFrame:
    """One row an image: its style, and for each measure 1, 0, or NaN where it does not apply."""
    thing = pd.Series([found[0].label for found in judges["object"].detect(images)])
    style = pd.Series([found[0].label for found in judges["style"].detect(images)])
    labels = judges["faces"].resolve(["faces"])
    detections = judges["faces"].detect(images)
    faces = pd.Series([any(d.label in labels and d.score >= FACE_THRESHOLD for d in found) for found in detections])
    person = shown["person"].astype(bool)
    return pd.DataFrame(
        {
            "style": shown["style"],
            "object_right": (thing == shown["thing"]).astype(float).where(~person),
            "style_right": (style == shown["style"]).astype(float),
            "faces_on_persons": faces.astype(float).where(person),
            "faces_on_others": faces.astype(float).where(~person),
        }
    )


def _rate(verdicts: pd.Series, measure: Measure) -> dict:
    from statsmodels.stats.proportion import proportion_confint

    n, hits = len(verdicts), int(verdicts.sum())
    low, high = proportion_confint(hits, n, method="wilson")
    bounds = {"at_least": measure.at_least, "at_most": measure.at_most}
    rate = {"n": n, "hits": hits, "rate": hits / n, "low": float(low), "high": float(high)}
    return rate | bounds | {"holds": measure.holds(hits / n)}
