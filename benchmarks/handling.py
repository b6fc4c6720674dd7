"""What do the stages cost that only handle weights: ranking neurons, masks that nobody learns, wearing, exporting?

None of these asks a network or knows prompts, but for the ranking, whose activations are collected before.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from timing import in_turns, peak_mb, record

from excise.erasers import Eraser
from excise.exports import save_folder, save_lora, save_mask, save_single_file, save_weights
from excise.masks import PruneOptions, mask_support
from excise.masks.fixed import random_mask, scored_mask
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.neurons import collect_activations, find_units, neuron_table

RATE, RANK = 0.1, 8  # share of the weights that is pruned; of the LoRA


def main() -> None:
    model = DiffusionModel.load(ModelSpec(name="emoji64", path="embedded:emoji64"))
    units = find_units(model.denoiser, True)
    first, second = (model.encode([f"a {word} on a blue background"] * 8) for word in ("man", "robot"))
    path = model.sample(first, list(range(8)), 4, 2.0, keep=True)
    collected = collect_activations(model, units, first, second, path.times, path.latents, 2, 8)

    support = mask_support(model.denoiser, PruneOptions(group="ffn+kv"), None)
    scores = {name: model.denoiser.get_parameter(name).detach().abs() for name in support}
    pruned = scored_mask(scores, support, RATE)
    header = {"method": "esd", "variant": "learned", "concept": "person", "support": "ffn+kv"}
    base = {"name": "emoji64", "sha256": model.sha256}
    weights = {name: 0.9 * model.denoiser.get_parameter(name).detach() for name in support}
    eraser = Eraser(header | {"base": base}, weights, pruned)

    def wearing() -> None:
        with model.wearing(eraser):
            pass

    stages: dict[str, Callable[[], object]] = {
        "ranking neurons": lambda: neuron_table(units, collected, collected, 0.1),
        "the scored mask": lambda: scored_mask(scores, support, RATE),
        "the random mask": lambda: random_mask(pruned, support, 0),
        "wearing and lifting an eraser": wearing,
        "exporting the changed weights": lambda: written(lambda file: save_weights(model, eraser, file)),
        "exporting the mask": lambda: written(lambda file: save_mask(eraser, file)),
        "exporting a single file": lambda: written(lambda file: save_single_file(model, eraser, file)),
        "exporting a folder": lambda: written(lambda file: save_folder(model, eraser, file)),
        f"exporting a LoRA of rank {RANK}": lambda: written(lambda f: save_lora(model, eraser, f, RANK, "float32")),
    }
    for stage, doing in stages.items():
        time(stage, doing)


def written(write: Callable[[Path], object]) -> None:
    """To a place that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "written")


def time(stage: str, doing: Callable[[], object]) -> None:
    """A row without a bare cost: there is no evaluation to compare with."""
    with torch.no_grad():
        seconds = in_turns(5, doing=doing)["doing"]
    figures = {"seconds": round(statistics.median(seconds), 3), "model_evaluations": 0, "peak_mb": peak_mb(doing)}
    record(stage, model="emoji64", prompts=1, **figures)


if __name__ == "__main__":
    main()
