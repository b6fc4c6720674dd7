"""The deterministic sampler, backwards."""

from __future__ import annotations

import torch

from excise.attacks.search import Candidate, Case, Search
from excise.models.schedule import STEPS


class Inversion(Search):
    """Rows: ``latent`` (n, c, h, w), on its way from the picture to noise."""

    def __init__(self, case: Case, rounds: int):
        super().__init__(case)
        self.rounds = rounds
        last = STEPS - 1
        self.times = [round(last * (k + 1) / case.options.steps) for k in range(case.options.steps)]

    def begin(self) -> None:
        self.rows = {"latent": self.case.references.clone()}

    @torch.no_grad()
    def advance(self) -> None:
        model, clean = self.case.model, self.rows["latent"]
        blank = model.encode([""]).expand(len(clean), -1, -1)
        time = self.times[self.done]
        times = torch.full((len(clean),), time, device=clean.device)
        noisy = clean
        for _ in range(self.rounds):  # DDIM's step from noisy to clean, solved for noisy
            noise = model.schedule.split(noisy, model.predict(noisy, times, blank), times)[1]
            picture = clean
            if self.done:  # before it there was no noise
                alpha, sigma = model.schedule.levels(torch.full_like(times, self.times[self.done - 1]), clean)
                picture = (clean - sigma * noise) / alpha
            noisy = model.add_noise(picture, noise, times)
        self.rows = {"latent": noisy}
        self.evaluations += self.rounds

    def candidates(self) -> list[Candidate]:
        return [Candidate([], latent=latent) for latent in self.rows["latent"]]
