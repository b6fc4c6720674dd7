"""What an attacker is given, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    import torch

    from excise.attacks.attack import AttackOptions
    from excise.models.diffusion import DiffusionModel


@dataclass(frozen=True)
class Knowledge:
    """What an attacker may know besides the prompts under attack.

    Attributes:
        target, neutral: prompts about the concept and their neutral twins, one for one; of the ``fit`` split.
        harmless: clean latents (m, c, h, w) of pictures about other things, with ``harmless_prompts``.
        concept: clean latents (k, c, h, w) of the base model's pictures of the concept, with ``concept_prompts``; of
            the ``fit`` split: what is learned from them is asked of prompts that it never saw.
    """

    target: list[str] = field(default_factory=list)
    neutral: list[str] = field(default_factory=list)
    harmless: torch.Tensor | None = None
    harmless_prompts: list[str] = field(default_factory=list)
    concept: torch.Tensor | None = None
    concept_prompts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Case:
    """A batch of prompts under attack.

    Attributes:
        model: the erased model.
        prompts: prompt_id, prompt, seed.
        contents: token ids of each prompt, without start and end.
        references: (n, c, h, w) clean latents of the base model's own pictures.
    """

    model: DiffusionModel
    prompts: pd.DataFrame
    contents: list[list[int]]
    references: torch.Tensor
    options: AttackOptions
    knowledge: Knowledge

    @property
    def seeds(self) -> list[int]:
        return [int(seed) for seed in self.prompts["seed"]]

    def only(self, rows: list[int]) -> Case:
        """The case of some of its prompts."""
        prompts = self.prompts.iloc[rows].reset_index(drop=True)
        return replace(
            self, prompts=prompts, contents=[self.contents[i] for i in rows], references=self.references[rows]
        )


@dataclass(frozen=True)
class Candidate:
    """One way of asking that an attack came up with.

    Attributes:
        token_ids: all tokens between start and end of text.
        adversarial_ids: those that the attack chose.
        embedding: learned vectors, one after the other, which ids beyond the vocabulary stand for.
        loss: the attack's own measure, lower is better; NaN where it has none.
        latent: what sampling starts from, in the place of noise drawn from the seed.
        strength: how much of the way from noise to picture is sampled, on (0, 1]: below 1, ``latent`` is a clean
            picture that is noised first.
        seed: drawn on this seed while attacking; None for the prompt's own.
    """

    token_ids: list[int]
    adversarial_ids: list[int] = field(default_factory=list)
    embedding: list[float] = field(default_factory=list)
    loss: float = float("nan")
    latent: torch.Tensor | None = None
    strength: float = 1.0
    seed: int | None = None
