"""What has become of the pictures of what must survive, beside the base model's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, field_validator

from excise.concepts import Concept
from excise.errors import UserError
from excise.images import ImageSet
from excise.judges.classifier.features import PooledFeatures
from excise.judges.clip.load import Clip, load_clip
from excise.metrics.lpips import Lpips
from excise.metrics.summary import BASE
from excise.models.spec import find_folder
from excise.pipelines.evaluate.nodes import RETAIN

from .cross_domain import CrossJudge, cross_rates, of_another_domain

FEWEST = 4  # pictures, below which nothing is said
See = Callable[[np.ndarray], np.ndarray]


class FidelityOptions(BaseModel):
    """With which features pictures of what must survive are compared.

    Attributes:
        clip: a ``CLIPModel`` folder for the CLIP score, ``embedded:NAME`` for one that ships; None for no score.
        features: a folder of an image model of transformers (DINOv2, CLIP, ResNet, ViT) for the distances to the base
            model's pictures; None for EfficientNet-Lite0's, on which the probes are built.
        lpips: a folder of VGG16 for LPIPS; None for none.
        cross: who judges what prompts say of another domain than the concept's: styles where a thing is erased.
    """

    model_config = ConfigDict(extra="forbid")
    clip: str | None = None
    features: str | None = None
    lpips: str | None = None
    cross: list[CrossJudge] = []

    @field_validator("cross")
    @classmethod
    def _told_apart(cls, cross: list[CrossJudge]) -> list[CrossJudge]:
        """Results are called by domain and judge."""
        named = [(judge.domain, judge.name) for judge in cross]
        for one in named:
            if named.count(one) > 1:
                raise ValueError(f"the judge '{one[1]}' is there twice for the domain {one[0]}")
        return cross


@dataclass(frozen=True)
class Models:
    """What looks at pictures.

    Attributes:
        clip: for the CLIP score, called ``clip_name``.
        see: pictures -> (n, d) features, called ``features``.
        lpips: what compares two pictures as people do.
    """

    clip: Clip | None
    clip_name: str
    see: See
    features: str
    lpips: Lpips | None


@dataclass(frozen=True)
class Seen:
    """Pictures: prompt, set, seed and row of each; themselves, (n, H, W, 3) uint8; their features, (n, d)."""

    drawn: pd.DataFrame
    pictures: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class Scales:
    """How far apart the base model's pictures of one prompt are, on different seeds; None where each has one."""

    likeness: float | None
    lpips: float | None


def load_models(options: FidelityOptions) -> Models:
    """
    Raises:
        UserError: one of them cannot be used.
    """
    lpips = Lpips(find_folder(options.lpips)) if options.lpips else None
    clip, clip_name = None, ""
    if options.clip:
        folder = find_folder(options.clip)
        clip = load_clip(folder, "fidelity.clip")
        clip_name = f"{folder.resolve().name} {clip.sha256[:12]}"
    if options.features:
        see = PooledFeatures(find_folder(options.features))
        return Models(clip, clip_name, see, see.name, lpips)
    from excise.judges.probe.features import POOLED, features_version, image_features

    def pooled(pictures: np.ndarray) -> np.ndarray:
        return image_features(pictures)[:, :POOLED].numpy()

    return Models(clip, clip_name, pooled, features_version(), lpips)


def measure_fidelity(concept: dict, prompts: pd.DataFrame, fidelity: FidelityOptions, **cells: Any) -> dict:
    """CLIP score of each model's pictures of what must survive, their distances to the base model's, and what they show
    of another domain than the concept's.

    Args:
        cells: ``<eraser>__plain__images``.

    Returns:
        By eraser: cross, clip_score, frechet, kernel, likeness, lpips, where they could be measured; nothing for an
        unsafe concept, of which only coarse pictures are kept.
    """
    shown = {key.split("__")[0]: images for key, images in cells.items()}
    found: dict[str, dict] = {eraser: {} for eraser in shown}
    described = Concept(**concept)
    if described.unsafe:
        return found
    models = load_models(fidelity)
    judges = [(judge, judge.ready()) for judge in of_another_domain(described, fidelity.cross)]
    base, scales = None, None
    for eraser in (BASE, *(e for e in shown if e != BASE)):
        cross = cross_rates(judges, prompts, shown[eraser])
        if cross:
            found[eraser]["cross"] = cross
        seen = _see(shown[eraser], RETAIN, models)
        if len(seen.drawn) < FEWEST:
            continue
        if models.clip is not None:
            found[eraser]["clip_score"] = _clip_score(models, prompts, seen)
        if eraser == BASE:
            base, scales = seen, _scales(_see(shown[eraser], ["neutral"], models), models)  # as many seeds as targets
        elif base is not None and scales is not None:
            found[eraser] |= _beside(base, scales, seen, models)
    return found


def _see(images: ImageSet, sets: list[str] | tuple[str, ...], models: Models) -> Seen:
    shown = images.manifest[images.manifest["set"].isin(sets)]
    drawn = shown[["prompt_id", "set", "seed"]].assign(row=range(len(shown)))
    if shown.empty:
        return Seen(drawn, np.empty((0, 1, 1, 3), np.uint8), np.empty((0, 1)))
    pictures = images.load(shown["image_id"].tolist())
    return Seen(drawn, pictures, usable(models.see(pictures), "fidelity.features"))


def _clip_score(models: Models, prompts: pd.DataFrame, seen: Seen) -> dict:
    """Of each picture with what was asked for, over prompts."""
    from excise.metrics.utility import clip_score

    said = prompts.set_index("prompt_id").loc[seen.drawn["prompt_id"], "prompt"].tolist()
    vectors = [usable(table, "fidelity.clip") for table in models.clip.features(seen.pictures, said)]
    return clip_score(*vectors, models.clip_name, seen.drawn["prompt_id"]).model_dump()


def _scales(again: Seen, models: Models) -> Scales:
    """Of the base model's pictures of harmless prompts."""
    from excise.metrics.likeness import distance_of_seeds

    if again.drawn.empty:
        return Scales(None, None)
    names = again.drawn["prompt_id"]
    pairs = [pair for rows in names.groupby(names.to_numpy()).indices.values() for pair in combinations(rows, 2)]
    lpips = None
    if pairs and models.lpips is not None:
        first, second = map(list, zip(*pairs, strict=True))
        lpips = float(models.lpips.distances(again.pictures[first], again.pictures[second]).mean())
    return Scales(distance_of_seeds(names, again.features), lpips)


def _beside(base: Seen, scales: Scales, seen: Seen, models: Models) -> dict:
    """An erased model's pictures beside the base model's: all of them, and those of one prompt and seed."""
    from excise.metrics.kernel import paired_kernel_distance
    from excise.metrics.likeness import likeness
    from excise.metrics.lpips import perceptual
    from excise.metrics.utility import frechet_distance

    found = {"frechet": frechet_distance(base.features, seen.features, models.features).model_dump()}
    both = base.drawn.merge(seen.drawn, on=["prompt_id", "set", "seed"], suffixes=("_base", ""))
    if both["prompt_id"].nunique() <= 2:
        return found
    pairs = base.features[both["row_base"]], seen.features[both["row"]]
    moved = likeness(both, *pairs, models.features, scales.likeness)
    found["likeness"] = moved.model_dump(exclude_unset=True)
    if models.lpips is not None:
        apart = models.lpips.distances(base.pictures[both["row_base"]], seen.pictures[both["row"]])
        told = perceptual(both, apart, models.lpips.name, scales.lpips)
        found["lpips"] = told.model_dump(exclude_unset=True)
    found["kernel"] = paired_kernel_distance(*pairs, both["prompt_id"], models.features).model_dump()
    return found


def usable(table: np.ndarray, option: str) -> np.ndarray:
    """Features of which distances can be taken.

    Raises:
        UserError: those of a picture are all zeros, or no numbers.
    """
    bad = int((~np.isfinite(table).all(1) | (table == 0).all(1)).sum())
    if bad:
        raise UserError(
            f"The features by {option} are all zeros or no numbers for {bad} of {len(table)} pictures or prompts: set "
            "it to another model; what is drawn already is kept."
        )
    return table
