"""How far pictures of what must survive have moved, each from the base model's of the same prompt and seed.

What LPIPS (``lpips``) is used for in papers on erasing, over any features: its own network is large, and the user's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from pydantic import Field

from .prompt_means import PromptMean, means_by_set
from .rates import Strict

if TYPE_CHECKING:
    import numpy as np

COSINES = {"ge": 0, "le": 2}


class Likeness(Strict):
    """Cosine distances of features, between 0 (they see no difference) and two scales.

    Attributes:
        retain_near, retain_far: between the two models' pictures of one prompt and seed; None where none was drawn.
        another_seed: between the base model's pictures of one prompt: another picture of the same; None where it drew
            one a prompt, or in files of earlier versions.
        others: between the base model's pictures of different prompts.
        features: the model that the features come from.
    """

    retain_near: PromptMean | None = None
    retain_far: PromptMean | None = None
    another_seed: float | None = Field(None, **COSINES)
    others: float = Field(**COSINES)
    features: str = Field(min_length=1)


def likeness(
    drawn: pd.DataFrame, base: np.ndarray, erased: np.ndarray, features: str, another_seed: float | None = None
) -> Likeness:
    """Compare two models picture by picture.

    Args:
        drawn: one row a picture that both models drew: prompt_id, set (retain_near, retain_far).
        base, erased: (n, d), row i of both belong to row i of ``drawn``.
        features: the model that they come from.
        another_seed: what ``distance_of_seeds`` says of the base model.
    """
    import numpy as np

    if base.shape != erased.shape or base.ndim != 2 or len(base) != len(drawn):
        raise ValueError(f"two (n, d) tables for {len(drawn)} pictures are needed, got {base.shape} and {erased.shape}")
    if drawn["prompt_id"].nunique() < 2:
        raise ValueError("pictures of at least two prompts are needed, as a scale")
    base, erased = unit_length(base), unit_length(erased)
    names = drawn["prompt_id"].to_numpy()
    others = _apart(base, names[:, None] != names[None, :])
    moved = means_by_set(drawn, np.clip(1 - (base * erased).sum(1), 0, 2))
    scale = {} if another_seed is None else {"another_seed": another_seed}
    return Likeness(**moved, **scale, others=others, features=features)


def distance_of_seeds(prompts: pd.Series, table: np.ndarray) -> float | None:
    """Mean cosine distance between pictures of one prompt on different seeds; None where each has one.

    Args:
        prompts: n ids.
        table: (n, d) features.
    """
    import numpy as np

    names = prompts.to_numpy()
    alike = (names[:, None] == names[None, :]) & ~np.eye(len(names), dtype=bool)
    return _apart(unit_length(table), alike) if alike.any() else None


def unit_length(table: np.ndarray) -> np.ndarray:
    """Rows of length 1, float64.

    Raises:
        ValueError: a row is all zeros, or not finite: it has no direction.
    """
    import numpy as np

    table = np.asarray(table, np.float64)
    norms = np.linalg.norm(table, axis=-1, keepdims=True)
    if not (np.isfinite(norms) & (norms > 0)).all():
        raise ValueError("features of some pictures are all zeros or not finite")
    return table / norms


def _apart(units: np.ndarray, pairs: np.ndarray) -> float:
    import numpy as np

    return float(np.clip(1 - (units @ units.T)[pairs].mean(), 0, 2))
