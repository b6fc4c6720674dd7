"""Relapse under fine-tuning: the erased model is trained on, on pictures of other things or of the concept.

Benign fine-tuning brings erased concepts back (SPQR, 2026): nobody meant to, and the eraser is gone. With pictures of
the concept it is relearning, which no eraser of weights withstands for long: what counts is how many steps it takes.
All weights of the denoiser, or a low-rank addition to its attention (LoRA, Hu et al. 2022). For testing one's own
eraser.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from excise.attacks.attack import AttackOptions
from excise.attacks.search import Case
from excise.attacks.weights import WeightsAttack
from excise.errors import UserError

if TYPE_CHECKING:
    import torch


class Finetuning(WeightsAttack):
    """Options of the attack; a step is a gradient step of ``batch`` pictures.

    Attributes:
        pictures: ``harmless``, of things to be kept, or ``concept``, the base model's own for fit prompts: those that
            are asked afterwards are never trained on.
        rank: of a low-rank addition; 0 trains all weights of the denoiser.
        lr: Adam's rate.
    """

    pictures: Literal["harmless", "concept"] = "harmless"
    rank: int = Field(0, ge=0)
    lr: float = Field(1e-4, gt=0)
    seed: int = 0

    def trained(self, options: AttackOptions) -> int:
        return options.steps

    def change(self, case: Case, folder: Path, title: str) -> dict[str, torch.Tensor]:
        import torch

        from excise.models.schedule import STEPS
        from excise.training import adam_loop, train

        from .student import Student

        model, known = case.model, case.knowledge
        concept = self.pictures == "concept"
        clean, texts = (known.concept, known.concept_prompts) if concept else (known.harmless, known.harmless_prompts)
        if clean is None:
            raise UserError(f"finetuning on pictures of the kind '{self.pictures}' needs some: give it knowledge.")
        states = model.encode(texts)
        student = Student(model.denoiser, self.rank, self.seed)

        def loss_of(step: int) -> dict[str, torch.Tensor]:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
            picked = torch.randint(len(clean), (case.options.batch,), generator=generator)
            times = torch.randint(STEPS, picked.shape, generator=generator).to(model.device)
            noise = torch.randn(clean[picked].shape, generator=generator).to(clean)
            noisy = model.add_noise(clean[picked], noise, times)
            predicted = model.predict(noisy, times, states[picked], student.values())
            return {"loss": (predicted - model.target(clean[picked], noise, times)).pow(2).mean()}

        train(student, loss_of, adam_loop(case.options.steps, case.options.batch, self.lr), folder, title)
        return student.values()
