"""A figure of pictures, averaged over prompts: pictures of one prompt are no independent trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from .rates import Strict
from .several import clustered_interval

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class PromptMean(Strict):
    """A mean over ``n`` prompts of something not below 0, with its 95 % bootstrap interval (none below two prompts)."""

    n: int = Field(ge=1)
    mean: float = Field(ge=0)
    low: float | None
    high: float | None


def means_by_set(drawn: pd.DataFrame, values: np.ndarray) -> dict[str, PromptMean]:
    """By set of prompts.

    Args:
        drawn: one row a picture: prompt_id, set.
        values: (n,), at least 0, of these pictures.
    """
    prompts = drawn.assign(value=values).groupby(["set", "prompt_id"], sort=False)["value"].mean()
    return {name: _mean(part.to_numpy()) for name, part in prompts.groupby(level="set")}


def _mean(values: np.ndarray) -> PromptMean:
    low, high = clustered_interval(values[:, None]) if len(values) > 1 else (None, None)
    return PromptMean(n=len(values), mean=float(values.mean()), low=low, high=high)
