"""What does a training step of an eraser, and of a mask, cost over the bare model evaluations that it makes?"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from timing import in_turns, record_over_bare
from torch.func import functional_call

from excise.erasers import EraserOptions, make_method
from excise.erasers.bank import build_bank
from excise.erasers.finetune import train_mask, train_weights
from excise.erasers.material import Material, Words
from excise.masks import PruneOptions, mask_support
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.models.layers import parameter_names

STEPS, BATCH = 5, 16


def main() -> None:
    model = DiffusionModel.load(ModelSpec(name="emoji64", path="embedded:emoji64"))
    with tempfile.TemporaryDirectory() as folder:
        banks = [
            build_bank(model, [w] * 4, [0, 1, 2, 3], 4, 2.0, Path(folder) / w, "sampling") for w in ("a man", "a cat")
        ]
    material = Material(banks[0], None, banks[1], Words(["a man"], "a cactus", ["a cat"]))
    options = EraserOptions(method="esd", steps=STEPS, batch=BATCH, retain_weight=1.0)
    method = make_method(options)
    names = parameter_names(model.denoiser, "esd-x")
    latents, states = banks[0].latents[0][:1].expand(BATCH, -1, -1, -1), banks[0].states[:1].expand(BATCH, -1, -1)

    def bare(names: list[str]) -> None:
        """One evaluation with a gradient of these weights on the concept's rows, and one on the retain rows."""
        for _ in range(2 * STEPS):
            values = {n: model.denoiser.get_parameter(n).detach().requires_grad_(True) for n in names}
            found = functional_call(model.denoiser, values, (latents, torch.tensor(500), states)).sample
            found.pow(2).mean().backward()

    def erase() -> None:
        with tempfile.TemporaryDirectory() as folder:
            train_weights(model, method, options, "esd-x", STEPS, 1.0, material, 0, Path(folder), "")

    seconds = in_turns(3, bare=lambda: bare(names), erase=erase)
    record_over_bare("training ESD", seconds, "erase", erase, BATCH, 2 * BATCH * STEPS)

    prune = PruneOptions(group="ffn+kv", gates="top_k", rate=0.1, steps=STEPS, retain_weight=1.0, weight_lr=1e-3)
    support = mask_support(model.denoiser, prune, None)
    scores = {n: torch.zeros_like(model.denoiser.get_parameter(n)) for n in support}

    def mask() -> None:
        with tempfile.TemporaryDirectory() as folder:
            train_mask(model, method, options, prune, support, scores, material, 0, Path(folder), "")

    seconds = in_turns(3, bare=lambda: bare(list(support)), mask=mask)
    record_over_bare("training P-ESD's mask", seconds, "mask", mask, BATCH, 2 * BATCH * STEPS)


if __name__ == "__main__":
    main()
