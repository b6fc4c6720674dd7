"""What the tests of erasers learn from: a few prompts, and where the tiny model went on them."""

from __future__ import annotations

from pathlib import Path

TARGETS = ["an old man", "a woman", "a guy"]
TWINS = ["a robot", "a robot", "a robot"]
RETAIN = ["a church", "a fish", "a bee", "a rose"]
STEPS = 4


def make_material(model, folder: Path):
    """Trajectories of these prompts, and bare words."""
    from excise.erasers.bank import build_bank
    from excise.erasers.material import Material, Words

    def bank(name, prompts):
        return build_bank(model, prompts, list(range(len(prompts))), STEPS, 3.0, folder / f"{name}.safetensors", name)

    words = Words(["man", "old woman", "guy"], "robot", ["church", "delivery truck", "fish", "rose"])
    return Material(bank("concept", TARGETS), bank("anchor", TWINS), bank("retain", RETAIN), words)
