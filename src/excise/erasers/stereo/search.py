"""STEREO's first stage: erase and attack in turn, to collect words that bring the concept back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from pydantic import PrivateAttr

from excise.erasers.finetune import Values, Weights, erasure_loss
from excise.erasers.method import EraserMethod, Lesson, noised
from excise.images.learned_words import LearnedWords
from excise.training import adam_loop, train


class Away(EraserMethod):
    """Erase one way of asking: target ε_0(x, w) − (s − 1) (ε_0(x, w) − ε_0(x, ∅)) on w.

    With the authors' s = 2 that is ε_0(x, ∅).
    """

    scale: float
    _asked: torch.Tensor | None = PrivateAttr(None)  # (L, d); None for the concept's own prompts

    def lesson(self, model, material, steps, rows, generator, student) -> Lesson:
        bank = material.concept
        latents, times, blank = bank.latents[steps, rows], bank.times[steps], bank.blank[steps, rows]
        if self._asked is None:
            states, wanted = bank.states[rows], bank.wanted[steps, rows]
        else:
            states = self._asked.expand(len(rows), -1, -1)
            with torch.no_grad():
                wanted = model.predict(latents, times, states)
        return Lesson(latents, times, states, wanted - (self.scale - 1) * (wanted - blank))


def search_words(model, stereo, names: list[str], batch: int, material, seed: int, folder: Path, title: str):
    """Learned words, one a round, as states (rounds, L, d).

    Args:
        stereo: the method, for its options.
        names: the parameters that are erased in.
        batch: rows a step of erasing.
    """
    found: list[torch.Tensor] = []
    weights: Values = {}
    material = replace(material, adversarial=None)
    for turn in range(stereo.rounds):
        away = Away(scale=stereo.scale)
        away._asked = found[-1] if found else None
        student = Weights(model.denoiser, names, weights, None)
        loss_of = erasure_loss(model, away, batch, 0.0, material, seed + turn)
        loop = adam_loop(stereo.round_steps, batch, stereo.round_lr)
        where = folder / f"round-{turn}"
        train(
            student,
            lambda step, loss_of=loss_of, student=student: loss_of(step, student.current()),
            loop,
            where / "erase",
            f"{title}, round {turn + 1}: erasing",
        )
        weights = {n: w.detach() for n, w in student.current().items()}
        found.append(_learn_word(model, stereo, weights, material, seed + turn, where / "attack", title, turn))
    width = material.concept.states.shape[1:]
    return torch.stack(found) if found else material.concept.states.new_empty(0, *width)


def _learn_word(model, stereo, weights: Values, material, seed: int, folder: Path, title: str, turn: int):
    """Textual inversion through the erased model, on pictures of the concept; states (L, d)."""
    size = model.vocabulary_size
    word = LearnedWords(model, [[size]], 1, stereo.start_word)
    pictures = material.concept.final

    def loss_of(step: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        picked = torch.randint(len(pictures), (stereo.attack_batch,), generator=generator)
        latents, times, target = noised(model, pictures[picked], generator)
        states = word.states(torch.zeros_like(picked))
        predicted = model.predict(latents, times, states, weights)
        return {"loss": (predicted - target).pow(2).mean()}

    loop = adam_loop(stereo.attack_steps, stereo.attack_batch, stereo.attack_lr)
    train(word, loss_of, loop, folder, f"{title}, round {turn + 1}: attacking")
    with torch.no_grad():
        return word.states(torch.zeros(1, dtype=torch.long))[0]
