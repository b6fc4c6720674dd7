"""What does it cost to score weights, over evaluating the model on the same inputs? And to solve an eraser?"""

from __future__ import annotations

import statistics

import torch
from timing import in_turns, peak_mb, record, record_over_bare

from excise.erasers import EraserOptions, make_method
from excise.erasers.material import Material, Words
from excise.masks.scores import input_norms
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.models.layers import parameter_names

STEPS = 4


def main() -> None:
    model = DiffusionModel.load(ModelSpec(name="emoji64", path="embedded:emoji64"))
    for count in (8, 32):
        score(model, count)
        solve(model, count)


def score(model: DiffusionModel, count: int) -> None:
    """The norms of what every prunable layer reads."""
    layers = [name.removesuffix(".weight") for name in parameter_names(model.denoiser, "ffn+kv")]
    states = model.encode(["a man on a blue background"] * count)
    path = model.sample(states, list(range(count)), STEPS, 2.0, keep=True)

    @torch.no_grad()
    def bare() -> None:
        for step, time in enumerate(path.times):
            model.predict(path.latents[step], time, states)

    def scoring() -> None:
        input_norms(model, layers, states, path.times, path.latents)

    seconds = in_turns(5, bare=bare, scoring=scoring)
    record_over_bare(f"scoring weights, {count} prompts", seconds, "scoring", scoring, count, count * STEPS)


def solve(model: DiffusionModel, count: int) -> None:
    """UCE with so many words to preserve; it never asks the denoiser, so that there is nothing to compare it with."""
    kept = [
        f"a {colour} {thing}" for colour in ("red", "blue", "green", "old") for thing in ("cat", "dog", "car", "cup")
    ]
    words = Words(["a man", "a woman"], "a cactus", (kept * 2)[:count])
    method = make_method(EraserOptions(method="uce"))

    def solving() -> None:
        method.start(model, Material(None, None, None, words))

    seconds = in_turns(5, solving=solving)["solving"]
    record(
        f"solving UCE, {count} words to preserve",
        model="emoji64",
        prompts=count,
        seconds=round(statistics.median(seconds), 3),
        model_evaluations=0,
        peak_mb=peak_mb(solving),
    )


if __name__ == "__main__":
    main()
