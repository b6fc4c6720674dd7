"""Attacks that ask the denoiser nothing: those on a text encoder over its bare evaluations, for 8 and for 32 prompts,
and those that change all weights at once by arithmetic, which ask no network at all."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import pandas as pd
from replay import bare_of
from timing import in_turns, peak_mb, record, record_over_bare

from excise.attacks import AttackOptions, make_attack
from excise.attacks.search import Knowledge
from excise.erasers import Eraser
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel

STEPS = 4
WORDS = ["a man", "a woman on a blue background", "an old man in flat style", "a lady"]
KNOWN = Knowledge(target=["a man", "a woman"], neutral=["a robot", "a robot"])


def main() -> None:
    model = DiffusionModel.load(ModelSpec(name="emoji64", path="embedded:emoji64"))
    names = [n for n, p in model.denoiser.named_parameters() if n.endswith(("to_k.weight", "to_v.weight"))]
    changed = {n: model.denoiser.get_parameter(n).detach().clone() for n in names}
    for value in changed.values():
        value.view(-1)[::10] = 0  # where a mask would have set zeros, for what guesses them
    with model.wearing(Eraser({"base": {"name": "emoji64", "sha256": model.sha256}}, changed)):
        for count in (8, 32):
            for attack in ("gcg", "mma", "ring_a_bell"):
                measure(model, attack, count)
        for attack in ("quantising", "merging", "revival"):
            measure(model, attack, 1)


def measure(model: DiffusionModel, name: str, count: int) -> None:
    """In turns with the evaluations of the text encoder, where there are any."""
    words = (WORDS * 8)[:count]
    prompts = pd.DataFrame({"prompt_id": [str(i) for i in range(count)], "prompt": words, "seed": range(count)})
    references = model.initial_noise(list(range(count)))
    options = AttackOptions(method=name, steps=STEPS, batch=count)

    def attack() -> pd.DataFrame:
        with tempfile.TemporaryDirectory() as folder:
            return make_attack(options).run(model, prompts, references, options, Path(folder), "", KNOWN)

    found = attack()
    if (found["dropped"] != "").any():
        raise RuntimeError(f"{name} attacked nothing: {found['dropped'].max()}")
    encoder = model.encoders["text_encoder"].encoder
    bare = bare_of(attack, model.denoiser, encoder)
    assert not bare.rows(model.denoiser), f"{name} asks the denoiser, and belongs into attacks.py"
    if rows := bare.rows(encoder):
        stage = f"attack {name}, {count} prompts (text encoder)"
        record_over_bare(stage, in_turns(3, bare=bare, attack=attack), "attack", attack, count, rows)
        return
    seconds = statistics.median(in_turns(3, attack=attack)["attack"])
    figures = {"prompts": count, "seconds": round(seconds, 3), "model_evaluations": 0, "peak_mb": peak_mb(attack)}
    record(f"attack {name}, one for all prompts", model="emoji64", **figures)


if __name__ == "__main__":
    main()
