"""ConceptPrune: drop the feed-forward weights that the concept uses more than its anchor; nothing is trained."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from excise.erasers.method import EraserMethod
from excise.models.layers import ParameterGroup, feed_forwards


class ConceptPrune(EraserMethod):
    """ConceptPrune (Chavhan et al. 2024): Wanda scores of the second feed-forward linear at each early timestep.

    |W_ij| · n_j, where n_j is the norm of hidden unit j over prompts and tokens, each token's activations scaled to
    length one. In every row of W, of the ``share`` of weights with the highest score on the concept, those go whose
    score is higher there than on the anchor; the union over the first ``timesteps``.
    """

    group: ClassVar[ParameterGroup] = "ffn"
    anchored: ClassVar[bool] = True
    trained: ClassVar[bool] = False
    share: float = Field(0.02, gt=0, le=1, description="of each row, 1 to 5 % in the paper")
    timesteps: int = Field(10, ge=1, description="the first so many of the trajectory's")
    batch: int = Field(32, ge=1)

    def mask(self, model, material) -> dict[str, torch.Tensor]:
        names = [f.down for f in feed_forwards(model.denoiser)]
        pruned = {
            f"{n}.weight": torch.zeros(model.denoiser.get_parameter(f"{n}.weight").shape, dtype=torch.bool)
            for n in names
        }
        for step in range(min(self.timesteps, len(material.concept.times))):
            concept, anchor = (self._norms(model, names, bank, step) for bank in (material.concept, material.anchor))
            for name in names:
                weight = model.denoiser.get_parameter(f"{name}.weight").detach().abs().double().cpu()
                pruned[f"{name}.weight"] |= skilled(weight * concept[name], weight * anchor[name], self.share)
        return pruned

    @torch.no_grad()
    def _norms(self, model, names: list[str], bank, step: int) -> dict[str, torch.Tensor]:
        """Norm of every hidden unit over prompts and tokens: layer -> (width,)."""
        sums = dict.fromkeys(names, 0.0)

        def read(name: str):
            def hook(module, arguments):
                x = torch.nn.functional.normalize(arguments[0].detach().double(), dim=-1)
                sums[name] = sums[name] + x.pow(2).flatten(0, -2).sum(0).cpu()

            return hook

        modules = dict(model.denoiser.named_modules())
        hooks = [modules[n].register_forward_pre_hook(read(n)) for n in names]
        try:
            for start in range(0, len(bank.states), self.batch):
                part = slice(start, start + self.batch)
                model.predict(bank.latents[step, part], bank.times[step], bank.states[part])
        finally:
            for hook in hooks:
                hook.remove()
        return {n: s.sqrt() for n, s in sums.items()}


def skilled(concept: torch.Tensor, anchor: torch.Tensor, share: float) -> torch.Tensor:
    """Of each row's top share on the concept, what scores higher there than on the anchor: bool of the same shape."""
    count = max(1, round(share * concept.shape[1]))
    top = torch.zeros(concept.shape, dtype=torch.bool).scatter_(1, concept.topk(count, dim=1).indices, True)
    return top & (concept > anchor)
