"""How much noise there is at a timestep, and what a denoiser is trained to say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

Prediction = Literal["epsilon", "v_prediction", "flow"]
STEPS = 1000  # timesteps of every model here


@dataclass(frozen=True)
class Schedule:
    """x_t = α_t x_0 + σ_t ε.

    Attributes:
        prediction: what the denoiser predicts: the noise ε; the velocity v = α ε − σ x_0 (Salimans & Ho 2022); or
            the velocity of a straight path, ε − x_0 (rectified flow, Liu et al. 2022), where α = 1 − σ, σ = t / 1000.
        alphas_cumprod: (1000,) ᾱ, where α² = ᾱ and σ² = 1 − ᾱ; None for a flow.
    """

    prediction: Prediction
    alphas_cumprod: torch.Tensor | None = None

    def levels(self, times: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(α, σ) at timesteps on [0, 1000), shaped (n, 1, 1, 1), in the precision and on the device of ``like``."""
        if self.alphas_cumprod is None:
            sigma = (times.to(like) / STEPS).view(-1, 1, 1, 1)
            return 1 - sigma, sigma
        squared = self.alphas_cumprod.to(like)[times.to("cpu")].to(like).view(-1, 1, 1, 1)
        return squared.sqrt(), (1 - squared).sqrt()

    def add_noise(self, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """x_t = α x_0 + σ ε (Ho et al. 2020, eq. 4)."""
        alpha, sigma = self.levels(times, clean)
        return alpha * clean + sigma * noise

    def target(self, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """What a perfect denoiser predicts at ``add_noise(clean, noise, times)``."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "flow":
            return noise - clean
        alpha, sigma = self.levels(times, clean)
        return alpha * noise - sigma * clean

    def split(
        self, noisy: torch.Tensor, predicted: torch.Tensor, times: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The (clean, noise) that a prediction says x_t is made of."""
        alpha, sigma = self.levels(times, noisy)
        if self.prediction == "epsilon":
            return (noisy - sigma * predicted) / alpha, predicted
        if self.prediction == "flow":
            return noisy - sigma * predicted, noisy + alpha * predicted
        return alpha * noisy - sigma * predicted, sigma * noisy + alpha * predicted
