"""Take the concept's words out of what cross-attention reads."""

from typing import ClassVar

import torch
from pydantic import Field

from excise.erasers.method import EraserMethod, Lesson
from excise.models.layers import parameter_names


class Projection(EraserMethod):
    """W (I − s Q Qᵀ) for keys and values, Q being an orthonormal basis of the words' text states, less the anchor's."""

    group: ClassVar = "kv"
    trained: ClassVar[bool] = False
    strength: float = Field(1.0, gt=0, le=1)

    def start(self, model, material) -> dict[str, torch.Tensor]:
        words = model.encode(material.words.erase) - model.encode([material.words.anchor])
        basis, _ = torch.linalg.qr(words[:, 1].double().T)  # position 0 is the start of the text
        weights = {name: model.denoiser.get_parameter(name) for name in parameter_names(model.denoiser, self.group)}
        return {n: (w - self.strength * (w.double() @ basis) @ basis.T).to(w.dtype) for n, w in weights.items()}

    def lesson(self, model, material, steps, rows, generator, student) -> Lesson:
        """What the mask of P-X is learned on: draw what the frozen model draws unasked."""
        bank = material.concept
        return Lesson(bank.latents[steps, rows], bank.times[steps], bank.states[rows], bank.blank[steps, rows])
