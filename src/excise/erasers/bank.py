"""Trajectories of the frozen model, sampled once and used at every one of their timesteps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from excise.cache import finished, write_atomically
from excise.models.diffusion import DiffusionModel


@dataclass
class Bank:
    """Where the frozen model went, and what it predicted there.

    Attributes:
        ids: (n, L) tokens of the prompts.
        states: (n, L, d) of the prompts.
        times: (T,).
        latents: (T, n, c, h, w).
        blank, wanted: the frozen noise predictions on the empty prompt and on the prompts, same shape.
        final: (n, c, h, w) clean latents.
    """

    ids: torch.Tensor
    states: torch.Tensor
    times: torch.Tensor
    latents: torch.Tensor
    blank: torch.Tensor
    wanted: torch.Tensor
    final: torch.Tensor

    def draw(self, generator: torch.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Random (step, prompt) index pairs, (count,) each."""
        steps = torch.randint(len(self.times), (count,), generator=generator)
        prompts = torch.randint(len(self.states), (count,), generator=generator)
        return steps, prompts


@torch.no_grad()
def build_bank(
    model: DiffusionModel,
    prompts: list[str],
    seeds: list[int],
    steps: int,
    guidance: float | list[float],
    path: Path,
    title: str,
    batch: int = 48,
) -> Bank:
    """Sample trajectories of prompts, or read them where they are stored already.

    Args:
        guidance: one scale, or one a prompt.
        path: safetensors file below the cache.
    """
    from tqdm import tqdm

    if not finished(path):
        parts: dict[str, list[torch.Tensor]] = {"latents": [], "blank": [], "wanted": [], "final": []}
        for start in tqdm(range(0, len(prompts), batch), desc=title, mininterval=2.0):
            chosen = slice(start, start + batch)
            states, scale = model.encode(prompts[chosen]), guidance[chosen] if isinstance(guidance, list) else guidance
            path_ = model.sample(states, seeds[chosen], steps, scale, keep=True)
            both = torch.cat([model.encode([""]).expand_as(states), states])
            predicted = [
                model.predict(torch.cat([x, x]), t, both).chunk(2)
                for t, x in zip(path_.times, path_.latents, strict=True)
            ]
            parts["latents"].append(path_.latents)
            parts["blank"].append(torch.stack([p[0] for p in predicted]))
            parts["wanted"].append(torch.stack([p[1] for p in predicted]))
            parts["final"].append(path_.final)
        tensors = {k: torch.cat(v, dim=0 if k == "final" else 1) for k, v in parts.items()}
        tensors |= {"times": path_.times, "ids": model.tokenize(prompts), "states": model.encode(prompts)}
        write_atomically(path, lambda p: save_file({k: v.cpu().contiguous() for k, v in tensors.items()}, p))
    stored = load_file(path, device=str(model.device))
    return Bank(**stored)
