"""What does it cost to look at neurons while the model is evaluated?"""

from __future__ import annotations

import torch
from timing import in_turns, record_over_bare

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
    units_seen = sum(u.width for u in units)
    record_over_bare(
        "collecting activations", seconds, "looking", looking, PROMPTS, 2 * PROMPTS * STEPS, units=units_seen
    )


if __name__ == "__main__":
    main()
