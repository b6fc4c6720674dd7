"""How much work a job is, counted before it starts, and how long that takes on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from excise.attacks import AttackOptions
    from excise.concepts import Concept
    from excise.erasers import EraserOptions
    from excise.images import DrawOptions
    from excise.masks import PruneOptions
    from excise.models import ModelSpec
    from excise.prompts import PromptOptions


@dataclass(frozen=True)
class Work:
    """What a job costs.

    Attributes:
        forward: evaluations of the denoiser, one latent each.
        training: evaluations with a backward pass.
        images: judged images, counted once for each judge that sees them.
    """

    forward: int
    training: int
    images: int


def count_work(
    prompts: PromptOptions,
    eraser: EraserOptions,
    prune: PruneOptions,
    attack: AttackOptions,
    draw: DrawOptions,
    models: int | None = None,
) -> Work:
    """Work of a whole job: trajectories, erasers, attacks, sets of pictures.

    Args:
        models: how many are judged; unless given the base model and X, and with a mask X+ and P-X.
    """
    from excise.attacks import make_attack
    from excise.erasers import ERASERS, make_method

    method, attacker, pruned = make_method(eraser), make_attack(attack), ERASERS[eraser.method].maskable
    erasers = models or (4 if pruned else 2)
    training = method.work(eraser)
    if pruned:  # X+ and P-X
        training += 2 * prune.steps * eraser.batch * (2 if prune.retain_weight > 0 else 1)
    training += attacker.work(attack, prompts.fit) + erasers * attacker.work(attack, prompts.test)
    sampled = (1 + method.anchored) * eraser.trajectories * prompts.fit + prompts.retain_fit + prompts.test
    forward = 4 * eraser.sampling_steps * sampled  # guided sampling, then both predictions at every step
    targets = (2 + typed(attack)) * erasers + 1  # plain and attacked, and the base model's neutral twins
    pictures = draw.per_prompt * prompts.test * targets + erasers * draw.per_retain_prompt * prompts.retain_test
    tried = _tried(attack) * (prompts.fit * pruned + prompts.test * erasers)
    forward += 2 * draw.steps * (pictures + tried)
    return Work(forward, training, pictures + tried + erasers * draw.per_retain_prompt * prompts.retain_test)


def count_audit(prompts: PromptOptions, attacks: Iterable[tuple[AttackOptions, int]], draw: DrawOptions) -> Work:
    """Work of an audit: the base model's trajectories, attacks, sets of pictures of two models.

    Args:
        attacks: with how many models each is run on.
    """
    from excise.attacks import make_attack

    forward, training = 4 * draw.steps * (prompts.test + prompts.fit + prompts.retain_fit), 0
    retain = 2 * draw.per_retain_prompt * prompts.retain_test
    pictures, tried = 3 * draw.per_prompt * prompts.test + retain, 0  # targets of both, and the base's neutral twins
    for attack, models in attacks:
        training += models * make_attack(attack).work(attack, prompts.test)
        pictures += (1 + typed(attack)) * models * draw.per_prompt * prompts.test
        tried += models * _tried(attack) * prompts.test
    forward += 2 * draw.steps * (pictures + tried)
    return Work(forward, training, pictures + tried + retain)


def typed(attack: AttackOptions) -> bool:
    """Whether prompts are drawn from the text of the tokens that were found, too: at most all of them are."""
    from excise.attacks import make_attack
    from excise.metrics.typed import BY_WORDS

    return make_attack(attack).threat_model in BY_WORDS


def _tried(attack: AttackOptions) -> int:
    """Images that a prompt may have judged, at most: it stops at its first hit that others confirm."""
    return attack.images * (1 + attack.confirm)


def sum_work(parts: Iterable[Work]) -> Work:
    """All of it together."""
    rows = list(parts)
    return Work(*(sum(getattr(r, f.name) for r in rows) for f in fields(Work)))


def measure_seconds(work: Work, model: ModelSpec, concept: Concept, batch: int = 32) -> float:
    """Seconds that the work takes here: a few evaluations and judgements are timed and scaled up."""
    import numpy as np
    import torch

    from excise.judges import make_judge
    from excise.models.diffusion import DiffusionModel

    loaded = DiffusionModel.load(model)
    states = loaded.encode([""]).expand(batch, -1, -1).contiguous()
    latents = loaded.initial_noise(list(range(batch)))
    times = torch.full((batch,), 500, device=loaded.device)

    def forward() -> None:
        with torch.no_grad():
            loaded.predict(latents, times, states)

    def training() -> None:
        leaf = states.detach().requires_grad_(True)
        loaded.predict(latents, times, leaf).pow(2).mean().backward()

    blank = np.zeros((4, 64, 64, 3), np.uint8)
    judge = make_judge(concept.judge)
    per_image = _seconds(lambda: judge.detect(blank)) / len(blank)
    return (work.forward * _seconds(forward) + work.training * _seconds(training)) / batch + work.images * per_image


def _seconds(function, repeats: int = 2) -> float:
    function()  # the first call pays for what is set up once
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - start) / repeats
