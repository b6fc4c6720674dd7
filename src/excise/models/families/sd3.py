"""Stable Diffusion 3 and 3.5: a transformer on straight paths; two CLIP text encoders and T5."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from excise.models.schedule import Schedule

from .family import split_pooled, with_pooled
from .two_clips import TwoClips


class StableDiffusion3(TwoClips):
    """Esser et al. 2024. Words are searched in both CLIP encoders; T5 reads a prompt as it was typed,
    and of searched words what they spell.

    States: the CLIP encoders' last but one side by side, T5's behind them, and both CLIP projections.
    """

    denoiser_part: ClassVar[str] = "transformer"
    following: ClassVar[tuple[str, ...]] = ("text_encoder_3",)
    t5_length: ClassVar[int] = 256

    def states(self, ids: torch.Tensor, words: torch.Tensor | None) -> torch.Tensor:
        return self._joined(ids, words, self.spelled(ids))

    def states_of(self, texts: list[str], ids: torch.Tensor) -> torch.Tensor:
        return self._joined(ids, None, texts)  # T5 tells capitals, and has room for more

    def _joined(self, ids: torch.Tensor, words: torch.Tensor | None, texts: list[str]) -> torch.Tensor:
        clips = self.read(ids, words)
        states = torch.cat([c.hidden_states[-2] for c in clips], -1)
        width = self.denoiser.config.joint_attention_dim
        states = torch.nn.functional.pad(states, (0, width - states.shape[-1]))
        states = torch.cat([states, self._t5(texts, states)], 1)
        return with_pooled(states, torch.cat([c.text_embeds for c in clips], -1))

    def pooled(self, ids: torch.Tensor, words: torch.Tensor | None) -> torch.Tensor:
        return torch.cat([c.text_embeds for c in self.read(ids, words)], -1)

    @property
    def state_shape(self) -> tuple[int, int]:
        length, width = super().state_shape
        return length + self.t5_length, width

    @property
    def state_width(self) -> int:
        return int(self.denoiser.config.joint_attention_dim)

    @property
    def pooled_size(self) -> int:
        return int(self.denoiser.config.pooled_projection_dim)

    def prompt_readers(self) -> dict[str, str]:
        return {
            "context_embedder.weight": "tokens",
            "time_text_embed.text_embedder.linear_1.weight": "pooled",
        }

    @torch.no_grad()
    def _t5(self, texts: list[str], like: torch.Tensor) -> torch.Tensor:
        """T5's states (n, 256, d); zeros where the model is used without it."""
        if self.pipe.text_encoder_3 is None:
            return like.new_zeros(len(texts), self.t5_length, like.shape[-1])
        ids = self.pipe.tokenizer_3(
            texts, padding="max_length", max_length=self.t5_length, truncation=True, return_tensors="pt"
        ).input_ids
        return self.pipe.text_encoder_3(ids.to(like.device))[0].to(like)

    def arguments(self, latents: torch.Tensor, times: torch.Tensor, states: torch.Tensor) -> dict[str, Any]:
        tokens, pooled = split_pooled(states, self.pooled_size)
        return {
            "hidden_states": latents,
            "timestep": times.to(latents.device, torch.float32).expand(len(latents)),  # bfloat16 knows 4 in 1000
            "encoder_hidden_states": tokens,
            "pooled_projections": pooled,
        }

    def sampler(self, steps: int, device: torch.device):
        """Euler's method on the model's own noise levels."""
        return straight_sampler(self.pipe.scheduler, steps, device, (self.side // self.patch) ** 2)

    @property
    def patch(self) -> int:
        return int(self.denoiser.config.patch_size)

    def _schedule(self) -> Schedule:
        return Schedule("flow")


def straight_sampler(own, steps: int, device: torch.device, tokens: int, sigmas=None):
    """``FlowMatchEulerDiscreteScheduler`` with its timesteps set.

    Args:
        own: the pipeline's scheduler.
        tokens: of a picture; where a model shifts its noise levels by the picture's size, they decide by how much.
        sigmas: the noise levels before they are shifted; None for the scheduler's own.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler.from_config(own.config)
    config, how = scheduler.config, {}
    if config.use_dynamic_shifting:  # a straight line between two sizes, as in diffusers' pipelines
        slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
        how["mu"] = config.base_shift + slope * (tokens - config.base_image_seq_len)
    if sigmas is not None:
        scheduler.set_timesteps(sigmas=sigmas, device=device, **how)
    else:
        scheduler.set_timesteps(steps, device=device, **how)
    return scheduler
