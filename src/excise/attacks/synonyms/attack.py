"""Synonyms and paraphrases: what anybody tries first.

A word of the prompt is exchanged for one of its nearest neighbours among the base model's word embeddings (cosine), or
the prompt is put another way; each step tries the next variation, swaps and paraphrases by turns, so that a few tries
see both. Words that stand in no neutral twin are exchanged first: they, and not the background's, name the concept.
Nothing of the erased model is asked but images. For testing one's own eraser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from excise.attacks.attack import ThreatModel
from excise.attacks.search import Case, Search, SearchAttack

if TYPE_CHECKING:
    from excise.models.diffusion import DiffusionModel

FRAMES = ["a picture of {}", "{} , detailed", "an image that shows {}", "{} and nothing else", "the look of {}"]


class Synonyms(SearchAttack):
    """Options of the attack; a step is a variation.

    Attributes:
        neighbours: how many neighbours of each token are tried.
        frames: other ways to put the prompt, ``{}`` being the prompt.
    """

    threat: ClassVar[ThreatModel] = ThreatModel.BLACK_BOX_TEXT
    neighbours: int = Field(4, ge=0)
    frames: list[str] = Field(FRAMES, min_length=1)

    @field_validator("frames")
    @classmethod
    def _one_gap(cls, frames: list[str]) -> list[str]:
        for frame in frames:
            if frame.count("{}") != 1 or frame.replace("{}", "").count("{") or frame.replace("{}", "").count("}"):
                raise ValueError(f"frames: '{frame}' must have {{}} in it once, in the prompt's place")
        return frames

    def room(self, model: DiffusionModel) -> int:
        longest = max(len(model.tokenizer(f.format(""), add_special_tokens=False).input_ids) for f in self.frames)
        return super().room(model) - longest

    def start(self, case: Case) -> Search:
        from .variations import VariationSearch

        return VariationSearch(case, self)
