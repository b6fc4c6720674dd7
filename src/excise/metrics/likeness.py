"""How far pictures of what must survive have moved, each from the base model's of the same prompt and seed.

What LPIPS is used for in papers on erasing, over any features: LPIPS' own are not to be had as safetensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from pydantic import Field

from .rates import Strict

if TYPE_CHECKING:
    import numpy as np

COSINES = {"ge": 0, "le": 2}


class Moved(Strict):
    """A mean cosine distance over ``n`` prompts with its 95 % t-interval (none below two prompts)."""

    n: int = Field(ge=1)
    mean: float = Field(**COSINES)
    low: float | None
    high: float | None


class Likeness(Strict):
    """Cosine distances of features: 0 for the same picture, ``others`` for one of another prompt.

    Attributes:
        retain_near, retain_far: between the two models' pictures of one prompt and seed; None where none was drawn.
        others: between the base model's pictures of different prompts, as a scale.
        features: the model that the features come from.
    """

    retain_near: Moved | None = None
    retain_far: Moved | None = None
    others: float = Field(**COSINES)
    features: str = Field(min_length=1)


def likeness(drawn: pd.DataFrame, base: np.ndarray, erased: np.ndarray, features: str) -> Likeness:
    """Compare two models picture by picture.

    Args:
        drawn: one row a picture that both models drew: prompt_id, set (retain_near, retain_far).
        base, erased: (n, d), row i of both belong to row i of ``drawn``.
        features: the model that they come from.
    """
    import numpy as np

    base, erased = _unit(base), _unit(erased)
    if base.shape != erased.shape or base.ndim != 2 or len(base) != len(drawn):
        raise ValueError(f"two (n, d) tables for {len(drawn)} pictures are needed, got {base.shape} and {erased.shape}")
    if drawn["prompt_id"].nunique() < 2:
        raise ValueError("pictures of at least two prompts are needed, as a scale")
    told = drawn.assign(moved=np.clip(1 - (base * erased).sum(1), 0, 2))
    # pictures of one prompt are no independent trials
    prompts = told.groupby(["set", "prompt_id"], sort=False)["moved"].mean()
    names = drawn["prompt_id"].to_numpy()
    unlike = names[:, None] != names[None, :]
    others = float(np.clip(1 - (base @ base.T)[unlike].mean(), 0, 2))
    moved = {name: _moved(part) for name, part in prompts.groupby(level="set")}
    return Likeness(**moved, others=others, features=features)


def _unit(table: np.ndarray) -> np.ndarray:
    import numpy as np

    table = np.asarray(table, np.float64)
    return table / np.linalg.norm(table, axis=-1, keepdims=True)


def _moved(distances: pd.Series) -> Moved:
    from statsmodels.stats.weightstats import DescrStatsW

    low, high = map(float, DescrStatsW(distances).tconfint_mean()) if len(distances) > 1 else (None, None)
    return Moved(n=len(distances), mean=float(distances.mean()), low=low, high=high)
