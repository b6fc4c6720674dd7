"""The deterministic sampler, backwards."""

from __future__ import annotations

import torch

from excise.attacks.search import Candidate, Case, Search


class Inversion(Search):
    """Rows: ``latent`` (n, c, h, w), on its way from the picture to noise."""

    def __init__(self, case: Case, rounds: int):
        super().__init__(case)
        self.rounds = rounds
        last = len(case.model.alphas_cumprod) - 1
        self.times = [round(last * (k + 1) / case.options.steps) for k in range(case.options.steps)]

    def begin(self) -> None:
        self.rows = {"latent": self.case.references.clone()}

    @torch.no_grad()
    def advance(self) -> None:
        model, clean = self.case.model, self.rows["latent"]
        blank = model.encode([""]).expand(len(clean), -1, -1)
        time = self.times[self.done]
        alphas = model.alphas_cumprod.to(clean)
        before = alphas[self.times[self.done - 1]] if self.done else torch.ones_like(alphas[0])
        after, times = alphas[time], torch.full((len(clean),), time, device=clean.device)
        noisy = clean
        for _ in range(self.rounds):  # DDIM's step from noisy to clean, solved for noisy
            noise = model.predict_noise(noisy, times, blank)
            picture = (clean - (1 - before).sqrt() * noise) / before.sqrt()
            noisy = after.sqrt() * picture + (1 - after).sqrt() * noise
        self.rows = {"latent": noisy}
        self.evaluations += self.rounds

    def candidates(self) -> list[Candidate]:
        return [Candidate([], latent=latent) for latent in self.rows["latent"]]
