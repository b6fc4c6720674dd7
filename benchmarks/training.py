"""What do the training steps of an eraser, and of a mask, cost over the bare model evaluations that they make?

Each method in few steps, with what it does once before. What has an inner attack gets few steps of that, too.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from replay import bare_of
from timing import in_turns, peak_mb, record, record_over_bare

from excise.erasers import EraserOptions, make_method
from excise.erasers.bank import build_bank
from excise.erasers.finetune import train_mask
from excise.erasers.material import Material, Words
from excise.masks import PruneOptions, mask_support
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.reports.words import eraser_label

STEPS, BATCH = 5, 16
METHODS = {  # with options of their own where the defaults would take hours
    "esd": {},
    "ac": {},
    "salun": {"batches": 2},
    "stereo": {"rounds": 1, "round_steps": STEPS, "attack_steps": STEPS, "attack_batch": BATCH},
    "advunlearn": {"warmup": 0, "attack_steps": STEPS},
    "conceptprune": {},
    "rece": {},
}


def main() -> None:
    model = DiffusionModel.load(ModelSpec(name="emoji64", path="embedded:emoji64"))
    with tempfile.TemporaryDirectory() as folder:
        concept, anchor, retain = (
            build_bank(model, [w] * 4, [0, 1, 2, 3], 4, 2.0, Path(folder) / w, "sampling")
            for w in ("a man", "a robot", "a cat")
        )
    material = Material(concept, anchor, retain, Words(["a man"], "a robot", ["a cat"]))
    networks = (model.denoiser, model.encoders["text_encoder"])
    for name, own in METHODS.items():
        options = EraserOptions(method=name, steps=STEPS, batch=BATCH, retain_weight=1.0, options=own)

        def erase(options: EraserOptions = options) -> None:
            with tempfile.TemporaryDirectory() as folder:
                method = make_method(options).prepare(model, options, material, 0, Path(folder), "")
                if method.trained:
                    method.train(model, options, material, 0, Path(folder), "")
                else:
                    method.start(model, material)
                    method.mask(model, material)

        bare = bare_of(erase, *networks)
        doing = "training" if make_method(options).trained else "solving"
        stage, rows = f"{doing} {eraser_label(name)}", bare.rows(networks[0])
        if rows:
            record_over_bare(stage, in_turns(3, bare=bare, erase=erase), "erase", erase, BATCH, rows)
        else:  # nothing is asked of the denoiser
            seconds = round(statistics.median(in_turns(3, erase=erase)["erase"]), 3)
            figures = {"prompts": 1, "seconds": seconds, "model_evaluations": 0, "peak_mb": peak_mb(erase)}
            record(stage, model="emoji64", **figures)

    options = EraserOptions(method="esd", steps=STEPS, batch=BATCH, retain_weight=1.0)
    prune = PruneOptions(group="ffn+kv", gates="top_k", rate=0.1, steps=STEPS, retain_weight=1.0, weight_lr=1e-3)
    support = mask_support(model.denoiser, prune, None)
    scores = {n: model.denoiser.get_parameter(n).detach() * 0 for n in support}

    def mask() -> None:
        with tempfile.TemporaryDirectory() as folder:
            train_mask(model, make_method(options), options, prune, support, scores, material, 0, Path(folder), "")

    bare = bare_of(mask, *networks)
    record_over_bare(
        "training P-ESD's mask", in_turns(3, bare=bare, mask=mask), "mask", mask, BATCH, bare.rows(networks[0])
    )


if __name__ == "__main__":
    main()
