"""FLUX.1: a transformer on straight paths; T5 reads the prompt, CLIP sums it up."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from excise.models.schedule import STEPS, Schedule

from .family import Family, split_pooled, with_pooled
from .sd3 import straight_sampler


class Flux(Family):
    """Black Forest Labs 2024. Words are searched in T5's vocabulary; CLIP reads what they spell.

    States: T5's, and CLIP's vector. Guidance of the ``dev`` model is distilled into it: its scale is an input, 3.5 as
    in diffusers' pipeline, and ``draw.guidance`` 1 leaves it at that.
    """

    denoiser_part: ClassVar[str] = "transformer"
    leading: ClassVar[tuple[str, ...]] = ("text_encoder_2",)
    following: ClassVar[tuple[str, ...]] = ("text_encoder",)
    lead_tokenizer: ClassVar[str] = "tokenizer_2"
    guidance: ClassVar[float] = 3.5

    @property
    def length(self) -> int:
        return min(512, super().length)

    def states(self, ids: torch.Tensor, words: torch.Tensor | None) -> torch.Tensor:
        return with_pooled(self._t5(ids, words), self._clip(self.spelled(ids), ids))

    def pooled(self, ids: torch.Tensor, words: torch.Tensor | None) -> torch.Tensor:
        """The mean of T5's states up to the text's end."""
        states = self._t5(ids, words)
        ended = (ids == self.tokenizer.eos_token_id).cumsum(1)
        inside = ((ended == 0) | (ended.diff(dim=1, prepend=ended.new_zeros(len(ids), 1)) > 0)).unsqueeze(-1)
        return (states * inside).sum(1) / inside.sum(1)

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

    def _t5(self, ids: torch.Tensor, words: torch.Tensor | None) -> torch.Tensor:
        """States (n, L, d); T5 sees nothing but embeddings."""
        encoder = self.pipe.text_encoder_2
        return (encoder(ids) if words is None else encoder(inputs_embeds=words))[0]

    @torch.no_grad()
    def _clip(self, texts: list[str], like: torch.Tensor) -> torch.Tensor:
        ids = self.pipe.tokenizer(
            texts,
            padding="max_length",
            max_length=self.pipe.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        return self.pipe.text_encoder(ids.to(like.device)).pooler_output

    def arguments(self, latents: torch.Tensor, times: torch.Tensor, states: torch.Tensor) -> dict[str, Any]:
        tokens, pooled = split_pooled(states, self.pooled_size)
        n, channels, height, width = latents.shape
        patches = latents.view(n, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
        rows, columns = torch.meshgrid(torch.arange(height // 2), torch.arange(width // 2), indexing="ij")
        places = torch.stack([torch.zeros_like(rows), rows, columns], -1).view(-1, 3).to(latents)
        distilled = self.denoiser.config.guidance_embeds
        return {
            "hidden_states": patches.reshape(n, -1, channels * 4),
            "timestep": times.to(latents).expand(n) / STEPS,
            "guidance": latents.new_full((n,), self.guidance) if distilled else None,
            "encoder_hidden_states": tokens,
            "pooled_projections": pooled,
            "txt_ids": places.new_zeros(tokens.shape[1], 3),
            "img_ids": places,
        }

    def prediction(self, output: Any, latents: torch.Tensor) -> torch.Tensor:
        n, channels, height, width = latents.shape
        patches = output.sample.view(n, height // 2, width // 2, channels, 2, 2)
        return patches.permute(0, 3, 1, 4, 2, 5).reshape(latents.shape)

    def sampler(self, steps: int, device: torch.device):
        """Euler's method on evenly spaced noise levels, shifted by the picture's size where the model says so."""
        sigmas = torch.linspace(1, 1 / steps, steps).tolist()
        return straight_sampler(self.pipe.scheduler, steps, device, (self.side // 2) ** 2, sigmas)

    @property
    def patch(self) -> int:
        return 2

    def _side(self, pixels: int | None) -> int:
        return int(self.pipe.default_sample_size) if pixels is None else super()._side(pixels)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return int(self.denoiser.config.in_channels) // 4, self.side, self.side

    def _schedule(self) -> Schedule:
        return Schedule("flow")
