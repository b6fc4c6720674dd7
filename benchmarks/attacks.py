"""What does an attack cost over the bare model evaluations that it makes? For 8 and for 32 prompts.

How many it makes, the attack says itself: with a gradient to the text states, and without one. An eraser is on that
changes nothing, since an attacker who compares the erased model with its base needs one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import torch
from timing import in_turns, record_over_bare

from excise.attacks import AttackOptions, make_attack
from excise.attacks.search import Knowledge
from excise.erasers import Eraser
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel

STEPS = 20  # the attacks' own defaults are many more: what is done once weighs more here than in use
ATTACKS = (
    "unlearndiffatk",
    "pez",
    "p4d",
    "textual_inversion",
    "tina",
)  # of those that ask the denoiser for what they learn


def main() -> None:
    model = DiffusionModel.load(ModelSpec(name="emoji64", path="embedded:emoji64"))
    name = next(n for n, p in model.denoiser.named_parameters() if n.endswith("to_k.weight"))
    header = {"base": {"name": "emoji64", "sha256": model.sha256}}
    with model.wearing(Eraser(header, {name: model.denoiser.get_parameter(name).detach().clone()})):
        for count in (8, 32):
            for attack in ATTACKS:
                measure(model, attack, count)


def measure(model: DiffusionModel, name: str, count: int) -> None:
    """The attack on so many prompts at once, in turns with its bare evaluations."""
    words = ["a man", "a woman on a blue background", "an old man in flat style", "a lady"] * (count // 4)
    prompts = pd.DataFrame({"prompt_id": [str(i) for i in range(count)], "prompt": words, "seed": range(count)})
    references = model.initial_noise(list(range(count)))
    states, times = model.encode(words), torch.full((count,), 500)
    options = AttackOptions(method=name, steps=STEPS, batch=count)
    knowledge = Knowledge(concept=references, concept_prompts=words)  # what is learned for all prompts is learned from

    def attack() -> pd.DataFrame:
        with tempfile.TemporaryDirectory() as folder:
            return make_attack(options).run(model, prompts, references, options, Path(folder), "", knowledge)

    found = attack()
    if (found["dropped"] != "").any():
        raise RuntimeError(f"{name} attacked nothing: {found['dropped'].max()}")
    gradients, evaluations = (int(found[k].max()) for k in ("gradient_steps", "model_evaluations"))
    if found["shared"].all():  # one effort for all, counted in pictures: each step is on a batch of them
        evaluations //= count

    def bare() -> None:
        for _ in range(gradients):
            leaf = states.detach().requires_grad_(True)
            model.predict(references, times, leaf).pow(2).mean().backward()
        with torch.no_grad():
            for _ in range(evaluations - gradients):
                model.predict(references, times, states)

    seconds = in_turns(3, bare=bare, attack=attack)
    record_over_bare(f"attack {name}, {count} prompts", seconds, "attack", attack, count, count * evaluations)


if __name__ == "__main__":
    main()
