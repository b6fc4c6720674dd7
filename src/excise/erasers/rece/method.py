"""RECE: UCE, then rounds of finding in closed form what still means the concept, and editing that too."""

from __future__ import annotations

import torch
from pydantic import Field

from excise.erasers.uce.method import UCE, edit, word_states
from excise.errors import UserError


class RECE(UCE):
    """Reliable and Efficient Concept Erasure (Gong et al. 2024).

    Each round: c' = (α I + Σ Wᵀ W)⁻¹ (Σ Wᵀ W0) c over all key and value projections is the state that the edited
    model takes for c; a UCE edit then maps c' to the anchor. All rounds are taken: the authors' script keeps the round
    with the lowest detection rate on a validation set, which chooses on the figure that is reported.
    """

    rounds: int = Field(3, ge=1)
    strength: float = Field(0.1, gt=0, description="α, how close c' stays to zero")
    round_damping: float = Field(0.1, gt=0, description="λ of the rounds' edits")
    round_preserve: float = Field(0.1, ge=0, description="s_p of the rounds' edits")

    def refuses(self, model) -> str:
        """Why it cannot work on this model; nothing where it can."""
        if set(model.family.prompt_readers().values()) == {"tokens"}:
            return ""
        return (
            "RECE looks for states that key and value projections read alike, and this model reads prompts through one "
            "embedding: choose uce."
        )

    def start(self, model, material) -> dict[str, torch.Tensor]:
        words = material.words
        edited = {n: w.double() for n, w in super().start(model, material).items()}
        original = {n: model.denoiser.get_parameter(n).double() for n in edited}
        if told := self.refuses(model):
            raise UserError(told)
        concept, anchor = word_states(model, words.erase, words.anchor, "all")
        keep, _ = word_states(model, words.retain, words.anchor, "all")
        for _ in range(self.rounds):
            found = still_meant(list(edited.values()), list(original.values()), concept, self.strength)
            edited = {
                n: edit(w, found, anchor, keep, self.round_damping, self.erase_scale, self.round_preserve)
                for n, w in edited.items()
            }
        return {n: w.to(model.denoiser.get_parameter(n).dtype) for n, w in edited.items()}


def still_meant(
    edited: list[torch.Tensor], original: list[torch.Tensor], concept: torch.Tensor, strength: float
) -> torch.Tensor:
    """c' for every row of ``concept`` (n, d): the ridge regression of W c' on W0 c over all projections."""
    d = concept.shape[1]
    square = strength * torch.eye(d, dtype=concept.dtype, device=concept.device) + sum(w.T @ w for w in edited)
    mixed = sum(w.T @ o for w, o in zip(edited, original, strict=True))
    return torch.linalg.solve(square, mixed @ concept.T).T
