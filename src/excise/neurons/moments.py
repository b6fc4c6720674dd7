"""Means and variances in one pass (Welford 1962; merged as in Chan et al. 1979), in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class Moments:
    """Streaming mean and sum of squared deviations.

    Attributes:
        count: samples seen.
        mean: (...,) float64.
        m2: (...,) float64, sum of squared deviations from the mean.
    """

    count: int
    mean: torch.Tensor
    m2: torch.Tensor

    @classmethod
    def zeros(cls, *shape: int) -> Moments:
        return cls(0, torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64))

    def update(self, samples: torch.Tensor) -> Moments:
        """Take in samples, (n, ...)."""
        samples = samples.detach().to("cpu", torch.float64)
        if not len(samples):
            return self
        mean = samples.mean(0)
        return self.merge(Moments(len(samples), mean, (samples - mean).pow(2).sum(0)))

    def merge(self, other: Moments) -> Moments:
        """Take in what another stream saw, in place."""
        total = self.count + other.count
        if total:
            delta = other.mean - self.mean
            self.mean = self.mean + delta * (other.count / total)
            self.m2 = self.m2 + other.m2 + delta.pow(2) * (self.count * other.count / total)
            self.count = total
        return self

    @property
    def variance(self) -> torch.Tensor:
        """Unbiased sample variance; NaN for fewer than two samples."""
        return self.m2 / (self.count - 1) if self.count > 1 else torch.full_like(self.m2, float("nan"))
