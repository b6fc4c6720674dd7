"""Tokens with which the erased model predicts what the base model does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from excise.attacks.search.nearest import NearestSearch
from excise.attacks.search.slots import SLOT, Slots
from excise.models.schedule import STEPS

if TYPE_CHECKING:
    from .attack import P4D


class P4DSearch(NearestSearch):
    options: P4D

    def template(self, content: list[int]) -> list[int]:
        if self.options.kind == "n":
            return [SLOT] * min(self.options.tokens, self.case.model.room)
        gap = self.options.gap
        parts = [content[i : i + gap] for i in range(0, len(content), gap)]
        return [token for part in parts for token in (*part, SLOT)]

    def time(self) -> int:
        return int(torch.randint(STEPS, (), generator=torch.Generator().manual_seed(self.done)))

    @torch.no_grad()
    def goal(self, noise: torch.Tensor, time: int) -> torch.Tensor:
        """What the base model predicts for the prompt as it stands."""
        model, clean = self.case.model, self.case.references
        times = torch.full((len(clean),), time, device=clean.device)
        self.evaluations += 1
        with model.bare():
            plain = model.encode_tokens(Slots(model, self.case.contents).ids)
            return model.predict(model.add_noise(clean, noise, times), times, plain)
