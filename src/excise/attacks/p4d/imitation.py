"""Tokens with which the erased model predicts what the base model does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from excise.attacks.search import Case
from excise.attacks.search.nearest import NearestSearch
from excise.attacks.search.noise import noise_errors
from excise.attacks.search.slots import SLOT, Slots
from excise.models.schedule import STEPS

if TYPE_CHECKING:
    from .attack import P4D


class P4DSearch(NearestSearch):
    def __init__(self, case: Case, options: P4D):
        super().__init__(case, options.lr, options.weight_decay)
        self.options = options

    def template(self, content: list[int]) -> list[int]:
        if self.options.kind == "n":
            return [SLOT] * min(self.options.tokens, self.case.model.room)
        gap = self.options.gap
        parts = [content[i : i + gap] for i in range(0, len(content), gap)]
        return [token for part in parts for token in (*part, SLOT)]

    def losses(self, states: torch.Tensor) -> torch.Tensor:
        model, clean, noise = self.case.model, self.case.references, self.noise()
        time = int(torch.randint(STEPS, (), generator=torch.Generator().manual_seed(self.done)))
        times = torch.full((len(clean),), time, device=clean.device)
        with torch.no_grad(), model.bare():
            plain = model.encode_tokens(Slots(model, self.case.contents).ids)
            target = model.predict(model.add_noise(clean, noise, times), times, plain)
        self.evaluations += 1
        return noise_errors(model, states, clean, noise, time, target)
