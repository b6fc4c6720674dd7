"""What has become of the pictures of what must survive, beside the base model's."""

from __future__ import annotations

from collections.abc import Callable
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


def load_models(options: FidelityOptions) -> tuple[Clip | None, See, str, Lpips | None]:
    """The CLIP, pictures -> (n, d) features, the name of these, and what compares two pictures as people do.

    Raises:
        UserError: one of them cannot be used.
    """
    lpips = Lpips(find_folder(options.lpips)) if options.lpips else None
    clip = load_clip(find_folder(options.clip), "fidelity.clip") if options.clip else None
    if options.features:
        see = PooledFeatures(find_folder(options.features))
        return clip, see, see.name, lpips
    from excise.judges.probe.features import POOLED, features_version, image_features

    return clip, lambda pictures: image_features(pictures)[:, :POOLED].numpy(), features_version(), lpips


def measure_fidelity(concept: dict, prompts: pd.DataFrame, fidelity: FidelityOptions, **cells: Any) -> dict:
    """CLIP score of each model's pictures of what must survive, their distances to the base model's, and what they show
    of another domain than the concept's.

    Args:
        cells: ``<eraser>__plain__images``.

    Returns:
        By eraser: cross, clip_score, frechet, kernel, likeness, lpips, where they could be measured; nothing for an
        unsafe concept, of which only coarse pictures are kept.
    """
    from excise.metrics.kernel import paired_kernel_distance
    from excise.metrics.likeness import distance_of_seeds, likeness
    from excise.metrics.lpips import perceptual
    from excise.metrics.utility import clip_score, frechet_distance

    shown = {key.split("__")[0]: images for key, images in cells.items()}
    found: dict[str, dict] = {eraser: {} for eraser in shown}
    described = Concept(**concept)
    if described.unsafe:
        return found
    clip, see, features, lpips = load_models(fidelity)
    judges = of_another_domain(described, fidelity.cross)
    base, base_seen, base_pictures, another_seed, seeds_apart = None, None, None, None, None
    for eraser in (BASE, *(e for e in shown if e != BASE)):
        cross = cross_rates(judges, prompts, shown[eraser])
        if cross:
            found[eraser]["cross"] = cross
        drawn, pictures = _pictures(shown[eraser], RETAIN)
        if len(drawn) < FEWEST:
            continue
        if clip is not None:
            said = prompts.set_index("prompt_id").loc[drawn["prompt_id"], "prompt"].tolist()
            vectors = [usable(table, "fidelity.clip") for table in clip.features(pictures, said)]
            name = f"{find_folder(str(fidelity.clip)).resolve().name} {clip.sha256[:12]}"
            found[eraser]["clip_score"] = clip_score(*vectors, name).model_dump()
        seen = usable(see(pictures), "fidelity.features")
        if eraser == BASE:
            base, base_seen, base_pictures = drawn, seen, pictures
            again, pictures = _pictures(shown[eraser], ["neutral"])  # drawn as often a prompt as targets are
            if len(again):
                another_seed = distance_of_seeds(again["prompt_id"], usable(see(pictures), "fidelity.features"))
                seeds_apart = _seeds_apart(lpips, again["prompt_id"], pictures) if lpips else None
            continue
        if base is None:
            continue
        both = base.merge(drawn, on=["prompt_id", "set", "seed"], suffixes=("_base", ""))
        pairs = base_seen[both["row_base"]], seen[both["row"]]
        found[eraser]["frechet"] = frechet_distance(base_seen, seen, features).model_dump()
        if both["prompt_id"].nunique() > 2:
            moved = likeness(both, *pairs, features, another_seed)
            found[eraser]["likeness"] = moved.model_dump(exclude_unset=True)
            if lpips is not None:
                apart = lpips.distances(base_pictures[both["row_base"]], pictures[both["row"]])
                found[eraser]["lpips"] = perceptual(both, apart, lpips.name, seeds_apart).model_dump(exclude_unset=True)
            found[eraser]["kernel"] = paired_kernel_distance(*pairs, both["prompt_id"], features).model_dump()
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


def _seeds_apart(lpips: Lpips, prompts: pd.Series, pictures: np.ndarray) -> float | None:
    """Mean LPIPS between pictures of one prompt on different seeds; None where each has one."""
    pairs = [pair for rows in prompts.groupby(prompts.to_numpy()).indices.values() for pair in combinations(rows, 2)]
    if not pairs:
        return None
    first, second = map(list, zip(*pairs, strict=True))
    return float(lpips.distances(pictures[first], pictures[second]).mean())


def _pictures(images: ImageSet, sets: list[str] | tuple[str, ...]) -> tuple[pd.DataFrame, np.ndarray]:
    """Prompt, set, seed and row of each, and the pictures: (n, H, W, 3) uint8."""
    shown = images.manifest[images.manifest["set"].isin(sets)]
    pictures = images.load(shown["image_id"].tolist()) if len(shown) else np.empty((0, 1, 1, 3), np.uint8)
    return shown[["prompt_id", "set", "seed"]].assign(row=range(len(shown))), pictures
