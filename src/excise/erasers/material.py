"""What an eraser method may learn from: trajectories of the frozen model, adversarial prompts, and bare words."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .bank import Bank


@dataclass(frozen=True)
class Words:
    """The concept without sentences around it; closed-form methods edit these.

    Attributes:
        erase: ways to name the concept.
        anchor: what shall be meant instead; may be empty.
        retain: names of what must survive.
    """

    erase: list[str]
    anchor: str
    retain: list[str]


@dataclass(frozen=True)
class Material:
    """Fit prompts only.

    Attributes:
        concept: trajectories of concept prompts.
        anchor: trajectories of their neutral twins, in the same order and on the same seeds; None where the method
            does not ask for them.
        retain: trajectories of retain prompts.
        words: the bare words.
        adversarial: (n, L, d) states, row i made from row i of ``concept``; None before there is an attack.
    """

    concept: Bank
    anchor: Bank | None
    retain: Bank
    words: Words
    adversarial: torch.Tensor | None = None
