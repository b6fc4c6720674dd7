"""Text-free inversion, after TINA (arXiv 2603.17828): the noise from which the erased model draws the picture unasked.

The deterministic sampler is run backwards from a picture of the concept, on the empty prompt, through the erased model
(DDIM inversion, Song et al. 2021), and each step is solved for rather than approximated: x_s is the fixed point of the
step that leads from it to x_t. No word is asked, so no eraser of words helps; whatever comes back was not forgotten by
the denoiser. As with img2img, compare with a model that never saw the concept: noise alone holds much of a picture.
The latent fixes the picture: one is drawn a prompt, and no fresh seed can confirm it. Ours is a reconstruction from the
idea, not from the authors' code. For testing one's own eraser.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from excise.attacks.attack import ThreatModel
from excise.attacks.search import Case, Search, SearchAttack


class TextFreeInversion(SearchAttack):
    """Options of the attack; a step is a timestep of the inversion, evenly spaced over all.

    Attributes:
        rounds: evaluations by which a step's fixed point is approached.
    """

    threat: ClassVar[ThreatModel] = ThreatModel.IMAGE
    judged: ClassVar[bool] = False  # half an inversion is no noise to start from
    rounds: int = Field(3, ge=1)

    def evaluations(self, steps: int) -> float:
        return self.rounds * steps / 3  # without a backward pass, which makes two thirds of it

    def start(self, case: Case) -> Search:
        from .inversion import Inversion

        return Inversion(case, self.rounds)
