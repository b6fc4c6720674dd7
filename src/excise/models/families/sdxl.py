"""Stable Diffusion XL: a U-Net that reads two CLIP text encoders, one vector of the prompt, and the picture's size."""

from __future__ import annotations

from typing import Any

import torch

from .family import split_pooled, with_pooled
from .stable_diffusion import StableDiffusion
from .two_clips import TwoClips


class StableDiffusionXL(TwoClips, StableDiffusion):
    """Podell et al. 2023. States: the last but one of both encoders side by side, and the second one's projection."""

    def states(self, ids: torch.Tensor, words: torch.Tensor | None) -> torch.Tensor:
        first, second = self.read(ids, words)
        states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
        states = with_pooled(states, second.text_embeds)
        if self.pipe.config.force_zeros_for_empty_prompt:  # as it was trained: no prompt is all zeros
            states = states.masked_fill(self.empty(ids).view(-1, 1, 1), 0)
        return states

    def pooled(self, ids: torch.Tensor, words: torch.Tensor | None) -> torch.Tensor:
        return self.read(ids, words)[1].text_embeds

    @property
    def pooled_size(self) -> int:
        return int(self.pipe.text_encoder_2.config.projection_dim)

    def arguments(self, latents: torch.Tensor, times: torch.Tensor, states: torch.Tensor) -> dict[str, Any]:
        tokens, pooled = split_pooled(states, self.pooled_size)
        size = self.side * self.scale
        sizes = torch.tensor([size, size, 0, 0, size, size], device=latents.device, dtype=latents.dtype)
        added = {"text_embeds": pooled, "time_ids": sizes.expand(len(latents), -1)}
        return super().arguments(latents, times, tokens) | {"added_cond_kwargs": added}
