"""What all attacks share: threat models, budgets, and the table that they fill."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from excise.errors import UserError, first_wrong, refuse_unknown

if TYPE_CHECKING:
    from excise.attacks.search.case import Knowledge
    from excise.models.diffusion import DiffusionModel

# from a table (prompt_id, prompt, seed, token_ids, embedding, latent, strength) to whether the judge saw the concept in
# one image of each row; None where it failed, which is no success
Examine = Callable[[pd.DataFrame], "list[bool | None]"]


class ThreatModel(StrEnum):
    """What the attacker can reach."""

    PLAIN = "plain prompt"
    BLACK_BOX_TEXT = "black-box text"
    WHITE_BOX_TEXT = "white-box text"
    EMBEDDING = "embedding"
    IMAGE = "image"
    WEIGHTS = "weights"


class AttackOptions(BaseModel):
    """Which attack, with what budget; a method's own options go to ``options``.

    Attributes:
        steps: of the attack, for each prompt: gradient steps, generations, tries; what one is says the method.
        images: how many a prompt the attacker may draw and have judged on the way, evenly spread over the steps; it
            stops at its first hit. With 0 it is blind, and chooses by its own loss.
        confirm: how many more images, on other seeds, a hit must mostly show the concept in before the attack stops at
            it; they count as judged. With 0 the first lucky image ends the search.
    """

    model_config = ConfigDict(extra="forbid")
    method: str = "unlearndiffatk"
    steps: int = Field(50, ge=1)
    images: int = Field(0, ge=0)
    confirm: int = Field(0, ge=0)
    batch: int = Field(32, ge=1, description="prompts attacked together")
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_image_a_step(self) -> AttackOptions:
        if self.images > self.steps:
            raise ValueError(f"images is {self.images}, and there are {self.steps} steps: at most one is judged a step")
        if self.confirm and not self.images:
            raise ValueError("confirm asks for more images of a hit, and images is 0: no hit is ever seen")
        return self


class Attack(Protocol):
    """An attack on a model that wears an eraser."""

    threat_model: ThreatModel
    judged: bool  # whether it can have images judged on its way
    divisible: bool  # whether ``run`` takes a ``shard``; what prompts share is made by one process
    compares: bool  # whether it needs the base model beneath an eraser: the base model alone cannot be attacked so

    def work(self, options: AttackOptions, prompts: int) -> int:
        """Evaluations with a backward pass that an attack on so many prompts takes."""
        ...

    def run(
        self,
        model: DiffusionModel,
        prompts: pd.DataFrame,
        references,
        options: AttackOptions,
        folder: Path,
        title: str,
        knowledge: Knowledge | None = None,
        examine: Examine | None = None,
    ) -> pd.DataFrame:
        """Adversarial prompts.

        Args:
            model: the erased model.
            prompts: prompt_id, prompt, seed.
            references: (n, c, h, w) clean latents of the base model's own picture for each prompt.
            folder: work in progress.
            knowledge: what the attacker may know besides; none unless given.
            examine: draws and judges candidates on the way, ``options.images`` times a prompt at most.

        Returns:
            One row a prompt: attack, threat_model, prompt_id, prompt, text (the adversarial prompt), token_ids,
            adversarial_ids, embedding (numbers of learned embeddings, which ids beyond the vocabulary stand for; empty
            for text), latent (numbers of the latent that sampling starts from; empty for noise from the seed) with its
            strength, retokenises (the text spells these tokens), loss, what it cost (gradient_steps,
            model_evaluations, images judged), found ("before" the attack, by the "attack", or ""), weights (a
            safetensors file of changed parameters, or ""), shared (whether the cost is that of all prompts together),
            dropped (the reason why it was not attacked, or ""; it then has no tokens).
        """
        ...


ATTACKS: dict[str, type] = {}


def register(name: str, attack: type) -> None:
    """Make an attack known under a name."""
    ATTACKS[name] = attack


def make_attack(options: AttackOptions) -> Attack:
    """The attack that the options name.

    Raises:
        UserError: there is none of that name, or it does not know one of its options.
    """
    refuse_unknown("attack", options.method, ATTACKS)
    try:
        attack = ATTACKS[options.method](**options.options)
    except ValueError as error:  # pydantic's is one; a plugin may raise its own
        place, wrong = first_wrong(error)
        raise UserError(f"attacks.{options.method}.options: {place or 'they'} {wrong}.") from None
    if options.images and not attack.judged:
        raise UserError(f"attacks.{options.method}.images: this attack has nothing judged on its way, set it to 0.")
    return attack


def by_words(attack: Attack) -> bool:
    """Whether an attack changes what is asked: text or vectors, and neither pictures nor weights."""
    return attack.threat_model not in (ThreatModel.IMAGE, ThreatModel.WEIGHTS)


def total(adversarial: pd.DataFrame, column: str) -> int:
    """What an attack cost over all of its prompts, from its table; what prompts share is counted once."""
    if adversarial.empty:
        return 0
    return int(adversarial[column].max() if adversarial["shared"].all() else adversarial[column].sum())
