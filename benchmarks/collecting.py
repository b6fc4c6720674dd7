"""What does it cost to look at neurons while the model is evaluated?"""

from __future__ import annotations

import statistics

import torch
from timing import in_turns, peak_mb, ratios, record

from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.neurons import collect_activations, find_units

PROMPTS, STEPS, BATCH = 32, 4, 32


def main() -> None:
    model = DiffusionModel.load(ModelSpec(name="emoji64", path="embedded:emoji64"))
    units = find_units(model.denoiser, True)
    first, second = (model.encode([f"a {w} on a blue background"] * PROMPTS) for w in ("man", "robot"))
    path = model.sample(first, list(range(PROMPTS)), STEPS, 2.0, keep=True)

    @torch.no_grad()
    def bare() -> None:
        for start in range(0, PROMPTS, BATCH):
            part = slice(start, start + BATCH)
            both = torch.cat([first[part], second[part]])
            for step in range(STEPS):
                shown = path.latents[step, part]
                model.predict(torch.cat([shown, shown]), path.times[step], both)

    def looking() -> None:
        collect_activations(model, units, first, second, path.times, path.latents, 2, BATCH)

    seconds = in_turns(9, bare=bare, looking=looking)
    ratio, low, high = ratios(seconds, "looking", "bare")
    record(
        "collecting activations",
        model="emoji64",
        prompts=PROMPTS,
        seconds=round(statistics.median(seconds["looking"]), 3),
        model_evaluations=2 * PROMPTS * STEPS,
        bare_seconds=round(statistics.median(seconds["bare"]), 3),
        ratio=round(ratio, 3),
        ratio_range=[round(low, 3), round(high, 3)],
        units=sum(u.width for u in units),
        peak_mb=peak_mb(looking),
    )


if __name__ == "__main__":
    main()
