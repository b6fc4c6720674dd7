"""How far one model's pictures are from another's as sets, where both drew the same prompts on the same seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from .utility import KernelDistance

if TYPE_CHECKING:
    import numpy as np


class PairedKernelDistance(KernelDistance):
    """A squared maximum mean discrepancy over features: exactly 0 where all pictures are the same."""

    deviation: float = Field(ge=0, description="standard error, by the jackknife over prompts")


def paired_kernel_distance(
    base: np.ndarray, erased: np.ndarray, prompts: Sequence[str], features: str
) -> PairedKernelDistance:
    """KID's kernel (Bińkowski et al. 2018), averaged over all pairs of pictures of *different* prompts.

    The mean of k(b, b') + k(e, e') - k(b, e') - k(e, b') is Gretton et al.'s (2012, lemma 6) unbiased statistic. KID's
    own is of independent sets: a picture and the other model's of the same prompt and seed are not. Over other features
    than Inception's it is not "KID": hence the name of the features in the result.

    Args:
        base, erased: (n, d), row i of both drawn from the same prompt and seed.
        prompts: n ids; at least three are different.
        features: the model that they come from.
    """
    import numpy as np
    import torch
    from torchmetrics.image.kid import poly_kernel

    first, second = (torch.as_tensor(np.asarray(table, np.float64)) for table in (base, erased))
    names = np.asarray(prompts)
    units = np.unique(names)
    if first.ndim != 2 or first.shape != second.shape or len(first) != len(names) or len(units) < 3:
        raise ValueError(
            f"two (n, d) tables of n pictures of at least three prompts are needed, got {tuple(first.shape)}, "
            f"{tuple(second.shape)} and {len(units)} prompts"
        )
    crossed = poly_kernel(first, second)
    terms = (poly_kernel(first, first) + poly_kernel(second, second) - crossed - crossed.T).numpy()
    unlike = names[:, None] != names[None, :]
    total, count = (terms * unlike).sum(), unlike.sum()
    without = []  # each prompt in turn
    for unit in units:
        own = names == unit
        left = total - 2 * terms[own][:, ~own].sum(), count - 2 * own.sum() * (~own).sum()
        without.append(left[0] / left[1])
    deviation = np.sqrt((len(units) - 1) * np.var(without))
    found = {"distance": float(total / count), "deviation": float(deviation)}
    return PairedKernelDistance(**found, n_first=len(first), n_second=len(second), features=features)
