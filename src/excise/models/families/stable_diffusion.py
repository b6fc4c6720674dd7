"""Stable Diffusion 1 and 2: a U-Net and one CLIP text encoder. emoji64 is one of these."""

from __future__ import annotations

from typing import Any

import torch

from excise.errors import UserError
from excise.models.schedule import Schedule

from .family import Family, read_words


class StableDiffusion(Family):
    """Rombach et al. 2022."""

    def states(self, ids: torch.Tensor, words: torch.Tensor | None) -> torch.Tensor:
        return read_words(self.pipe.text_encoder, ids, words)[0]

    def pooled(self, ids: torch.Tensor, words: torch.Tensor | None) -> torch.Tensor:
        return read_words(self.pipe.text_encoder, ids, words).pooler_output

    def arguments(self, latents: torch.Tensor, times: torch.Tensor, states: torch.Tensor) -> dict[str, Any]:
        return {"sample": latents, "timestep": times, "encoder_hidden_states": states}

    def sampler(self, steps: int, device: torch.device):
        """DPM-Solver++ (Lu et al. 2022)."""
        from diffusers import DPMSolverMultistepScheduler

        scheduler = DPMSolverMultistepScheduler.from_config(self.pipe.scheduler.config)
        scheduler.set_timesteps(steps, device=device)
        return scheduler

    def _schedule(self) -> Schedule:
        kind = self.pipe.scheduler.config.get("prediction_type", "epsilon")
        if kind not in ("epsilon", "v_prediction"):
            raise UserError(f"This model predicts '{kind}': take one that predicts noise (epsilon) or v_prediction.")
        return Schedule(kind, self.pipe.scheduler.alphas_cumprod)
