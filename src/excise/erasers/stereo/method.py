"""STEREO: search thoroughly for words that mean the concept, then erase all of them at once."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field, PrivateAttr

from excise.erasers.method import EraserMethod, Lesson
from excise.models.layers import ParameterGroup, parameter_names


class Stereo(EraserMethod):
    """STEREO (Srivatsan et al. 2024).

    First ``rounds`` of erasing and of learning a word through the erased model, each round erasing the word of the one
    before (``search.py``). Then, from the base model again, on the concept's prompts and on all these words w_k alike:
    target ε_0(∅) + (s − 1) (ε_0(a) − ε_0(∅)) − (s + 1) mean over n of (ε_0(n) − ε_0(∅)), n among the prompt and all
    w_k, a the prompt's neutral twin; all at the same x_t. That is the authors' code, whose guidance keeps the parallel
    part that adaptive projected guidance may leave out, so that its projection changes nothing. Theirs are the
    student's trajectories, and sentences about other things as anchors; ours are the frozen model's and the twin.

    Attributes:
        scale: s.
        round_steps, round_lr: of erasing in a round.
        attack_steps, attack_batch, attack_lr: of learning a word.
        start_word: what a learned word starts from (the authors: art, person, object); empty for the mean of all.
    """

    group: ClassVar[ParameterGroup] = "esd-x"
    anchored: ClassVar[bool] = True
    scale: float = Field(2.0, ge=1)
    rounds: int = Field(4, ge=0)
    round_steps: int = Field(200, ge=1)
    round_lr: float = Field(5e-6, gt=0)
    attack_steps: int = Field(3000, ge=1)
    attack_batch: int = Field(1, ge=1)
    attack_lr: float = Field(5e-3, gt=0)
    start_word: str = ""
    _found: torch.Tensor | None = PrivateAttr(None)

    def prepare(self, model, options, material, seed, folder, title) -> Stereo:
        from .search import search_words

        names = parameter_names(model.denoiser, options.group or self.group)
        ready = self.model_copy()
        ready._found = search_words(model, self, names, options.batch, material, seed, folder, title)
        return ready

    def work(self, options) -> int:
        """The search and its end; the frozen evaluations of every word, without a backward pass, count a third."""
        search = self.rounds * (self.round_steps * options.batch + self.attack_steps * self.attack_batch)
        return super().work(options) + search + options.steps * options.batch * (1 + self.rounds) // 3

    def lesson(self, model, material, steps, rows, generator, student) -> Lesson:
        bank, found = material.concept, self._found
        latents, times, blank = bank.latents[steps, rows], bank.times[steps], bank.blank[steps, rows]
        with torch.no_grad():
            words = [model.predict(latents, times, w.expand(len(rows), -1, -1)) for w in found]
            anchor = model.predict(latents, times, material.anchor.states[rows])
        away = torch.stack([bank.wanted[steps, rows], *words]).mean(0) - blank
        target = blank + (self.scale - 1) * (anchor - blank) - (self.scale + 1) * away
        # which way the student is asked: 0 is the prompt, k the k-th word
        asked = torch.randint(1 + len(found), (len(rows),), generator=generator).to(latents.device)
        ways = torch.cat([bank.states[rows].unsqueeze(0), found.unsqueeze(1).expand(-1, len(rows), -1, -1)])
        return Lesson(latents, times, ways[asked, torch.arange(len(rows))], target)
