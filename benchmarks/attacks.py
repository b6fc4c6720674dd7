"""What does an attack cost over the bare model evaluations that it makes? For 8 and for 32 prompts."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import pandas as pd
import torch
from timing import in_turns, peak_mb, ratios, record

from excise.attacks import AttackOptions, make_attack
from excise.attacks.search import Knowledge
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel

STEPS = 10
WAYS = {  # attack -> options, and for each evaluation with a gradient how many without one it makes
    "unlearndiffatk": ({"tokens": 10, "check_every": STEPS, "checks": 1}, 2 / STEPS),
    "pez": ({"tokens": 10}, 0.0),
    "p4d": ({"tokens": 10}, 1.0),
}


def main() -> None:
    model = DiffusionModel.load(ModelSpec(name="emoji64", path="embedded:emoji64"))
    for count in (8, 32):
        words = ["a man", "a woman on a blue background", "an old man in flat style", "a lady"] * (count // 4)
        prompts = pd.DataFrame({"prompt_id": [str(i) for i in range(count)], "prompt": words, "seed": range(count)})
        states, references = model.encode(words), model.initial_noise(list(range(count)))
        times = torch.full((count,), 500)

        def forward(states=states, references=references, times=times) -> None:
            with torch.no_grad():
                model.predict(references, times, states)

        def backward(states=states, references=references, times=times) -> None:
            leaf = states.detach().requires_grad_(True)
            model.predict(references, times, leaf).pow(2).mean().backward()

        for name, (own, plain) in WAYS.items():
            options = AttackOptions(method=name, steps=STEPS, batch=count, options=own)

            def attack(options=options, prompts=prompts, references=references) -> None:
                with tempfile.TemporaryDirectory() as folder:
                    make_attack(options).run(model, prompts, references, options, Path(folder), "", Knowledge())

            def bare(plain=plain) -> None:
                for _ in range(STEPS):
                    backward()
                for _ in range(round(STEPS * plain)):
                    forward()

            seconds = in_turns(3, bare=bare, attack=attack)
            ratio, low, high = ratios(seconds, "attack", "bare")
            record(
                f"attack {name}, {count} prompts",
                model="emoji64",
                prompts=count,
                seconds=round(statistics.median(seconds["attack"]), 2),
                model_evaluations=count * (STEPS + round(STEPS * plain)),
                bare_seconds=round(statistics.median(seconds["bare"]), 2),
                ratio=round(ratio, 3),
                ratio_range=[round(low, 3), round(high, 3)],
                peak_mb=peak_mb(),
            )


if __name__ == "__main__":
    main()
