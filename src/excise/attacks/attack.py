"""What all attacks share: threat models, budgets, and the table that they fill."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from excise.errors import UserError, refuse_unknown

if TYPE_CHECKING:
    from excise.models.diffusion import DiffusionModel


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
        steps: gradient steps a prompt.
    """

    model_config = ConfigDict(extra="forbid")
    method: str = "unlearndiffatk"
    steps: int = Field(50, ge=1)
    batch: int = Field(32, ge=1, description="prompts attacked together")
    options: dict[str, Any] = {}


class Attack(Protocol):
    """An attack on a model that wears an eraser."""

    threat_model: ThreatModel

    def work(self, options: AttackOptions, prompts: int) -> int:
        """Evaluations with a backward pass that an attack on so many prompts takes."""
        ...

    def run(
        self, model: DiffusionModel, prompts: pd.DataFrame, references, options: AttackOptions, folder: Path, title: str
    ) -> pd.DataFrame:
        """Adversarial prompts.

        Args:
            model: the erased model.
            prompts: prompt_id, prompt, seed.
            references: (n, c, h, w) clean latents of the base model's own picture for each prompt.
            folder: work in progress.

        Returns:
            One row a prompt: attack, threat_model, prompt_id, prompt, text (the adversarial prompt), token_ids,
            adversarial_ids, embedding (numbers of learned embeddings, which ids beyond the vocabulary stand for; empty
            for text), retokenises (the text spells these tokens), loss, gradient_steps, model_evaluations,
            dropped (the reason why it was not attacked, or "").
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
        return ATTACKS[options.method](**options.options)
    except ValueError as error:
        detail = str(error).splitlines()[1:3]
        raise UserError(f"attacks.{options.method}.options: {' '.join(d.strip() for d in detail)}") from None
