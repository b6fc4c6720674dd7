"""UCE: keys and values that map the concept's words to the anchor's, in closed form."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from excise.erasers.method import EraserMethod, Lesson
from excise.models.layers import ParameterGroup


class UCE(EraserMethod):
    """Unified Concept Editing (Gandikota et al. 2024).

    W = (λ W0 + Σ s_e v* cᵀ + Σ s_p (W0 c) cᵀ) (λ I + Σ s_e c cᵀ + Σ s_p c cᵀ)⁻¹, with v* = W0 · anchor, for the key and
    value projections of all cross-attentions. P-UCE is solved first; its mask is then learned on the solved weights,
    drawn to what the frozen model predicts on the anchor's prompts (our reconstruction: the method has no loss).
    """

    group: ClassVar[ParameterGroup] = "kv"
    anchored: ClassVar[bool] = True
    trained: ClassVar[bool] = False
    tokens: Literal["last", "all"] = Field("last", description="edit the last word's state, or those of all positions")
    damping: float = Field(0.5, gt=0, description="λ")
    erase_scale: float = Field(1.0, gt=0, description="s_e")
    preserve_scale: float = Field(1.0, ge=0, description="s_p")

    def start(self, model, material) -> dict[str, torch.Tensor]:
        words = material.words
        edited = {}
        for name, part in model.family.prompt_readers().items():
            erase, anchor = word_states(model, words.erase, words.anchor, self.tokens, part)
            keep, _ = word_states(model, words.retain, words.anchor, self.tokens, part)
            weight = model.denoiser.get_parameter(name)
            edited[name] = edit(
                weight.double(), erase, anchor, keep, self.damping, self.erase_scale, self.preserve_scale
            ).to(weight.dtype)
        return edited

    def lesson(self, model, material, steps, rows, generator, student) -> Lesson:
        bank = material.concept
        latents, times = bank.latents[steps, rows], bank.times[steps]
        with torch.no_grad():
            target = model.predict(latents, times, material.anchor.states[rows])
        return Lesson(latents, times, bank.states[rows], target)


def edit(
    weight: torch.Tensor,
    erase: torch.Tensor,
    anchor: torch.Tensor,
    keep: torch.Tensor,
    damping: float,
    erase_scale: float,
    preserve_scale: float,
) -> torch.Tensor:
    """The closed form for one projection.

    Args:
        weight: W0, (out, d).
        erase, anchor: (n, d), what row i meant and shall mean.
        keep: (m, d).
    """
    kept = keep.T @ keep
    left = damping * weight + erase_scale * weight @ anchor.T @ erase + preserve_scale * weight @ kept
    identity = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
    right = damping * identity + erase_scale * erase.T @ erase + preserve_scale * kept
    return torch.linalg.solve(right, left.T).T  # right is symmetric


def word_states(
    model, words: list[str], anchor: str, tokens: str, part: str = "tokens"
) -> tuple[torch.Tensor, torch.Tensor]:
    """States of words and of the anchor, paired, in double precision: (rows, d) each.

    ``last``: the state of the last token before the end, one row a word (of an empty anchor: the start token).
    ``all``: every position's.

    Args:
        part: ``pooled`` for the vector of the whole prompt, one row a word, in the place of its tokens' states.
    """
    states, other = model.encode(words).double(), model.encode([anchor]).double()
    if part == "pooled":
        return model.prompt_states(states), model.prompt_states(other).expand(len(words), -1)
    states, other = model.token_states(states), model.token_states(other)
    if tokens == "all":
        return states.flatten(0, 1), other.expand_as(states).flatten(0, 1)
    lengths = [len(ids) for ids in model.tokenizer([*words, anchor], add_special_tokens=False).input_ids]
    last = torch.tensor(lengths, device=states.device) + model.family.first - 1
    last = last.clamp_min(0)  # an empty text of a tokenizer without a start: its end
    picked = states[torch.arange(len(words), device=states.device), last[:-1]]
    return picked, other[0, last[-1]].expand_as(picked)
