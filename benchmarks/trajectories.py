"""ESD from trajectories that are sampled once, against the naive loop, which samples the student's own at every step.

All train the same parameters without a retain term, until their loss on rows that none trains on has come down to
``MARK`` of what it was; all trajectories are at ``GUIDANCE``. The first takes ``BATCH`` rows a step. The naive loop is
tried with as many rows, each from a partial trajectory of its own, and as it is published, with one: then the learning
rate is too high for so few rows, and is scaled to them, by its square root or by all of it, whichever is better in a
trial that is not counted. A loop gives up after ``PATIENCE`` steps (``MOST`` with ``BATCH`` rows).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from timing import record
from torch.func import functional_call

from excise.erasers import EraserOptions, make_method
from excise.erasers.bank import build_bank
from excise.erasers.finetune import Weights, erasure_loss
from excise.erasers.material import Material, Words
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.models.layers import parameter_names

MARK, BATCH, SAMPLING, GUIDANCE, LR = 0.5, 16, 16, 2.0, 1e-3
RATES, TRIAL, MOST, PATIENCE = (LR / BATCH**0.5, LR / BATCH), 50, 200, 400
OPTIONS = {"negative_guidance": 1.0, "guidance": GUIDANCE}
WORDS = ["a man", "a woman", "an old man", "a blond woman", "a bald man", "a curly woman", "a guy", "a lady"]


def main() -> None:
    model = DiffusionModel.load(ModelSpec(name="emoji64", path="embedded:emoji64"))
    names = parameter_names(model.denoiser, "esd-x")
    count = [0]
    hook = model.denoiser.register_forward_pre_hook(
        lambda m, a, k: count.__setitem__(0, count[0] + len(a[0] if a else k["sample"])), with_kwargs=True
    )
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        train, held = (
            build_bank(
                model, WORDS, [s + 100 * k for s in range(8)], SAMPLING, GUIDANCE, Path(folder) / f"{k}", "sampling"
            )
            for k in (0, 1)
        )
        sampled = (time.perf_counter() - start) / 2
    once = count[0] / 2
    words = Words(["man"], "robot", [])
    target = make_method(EraserOptions(method="esd", options=OPTIONS))

    @torch.no_grad()
    def held_out(weights: Weights) -> float:
        errors = []
        for t in range(0, SAMPLING, 3):
            wanted = target.target(held.blank[t], held.wanted[t])
            found = functional_call(
                model.denoiser, weights.current(), (held.latents[t], held.times[t], held.states)
            ).sample
            errors.append(float((found - wanted).pow(2).mean()))
        return sum(errors) / len(errors)

    def run(follow: str, batch: int, lr: float, most: int, mark: float = 0.0):
        method = make_method(EraserOptions(method="esd", options={**OPTIONS, "follow": follow}))
        weights = Weights(model.denoiser, names, {}, None)
        loss_of = erasure_loss(model, method, batch, 0.0, Material(train, None, train, words), 0)
        adam = torch.optim.Adam(weights.parameters(), lr=lr)
        seconds, before, spent, loss, step = 0.0, count[0], 0, held_out(weights), 0
        first = loss
        while step < most and loss > mark * first:
            count[0], start = 0, time.perf_counter()
            adam.zero_grad()
            loss_of(step, weights.current())["loss"].backward()
            adam.step()
            seconds += time.perf_counter() - start
            spent, step = spent + count[0], step + 1
            if step % 5 == 0 or step == most:
                loss = held_out(weights)
        count[0] = before
        return {"steps": step, "seconds": seconds, "evaluations": spent, "loss": loss, "start": first}

    best = min(RATES, key=lambda lr: run("student", 1, lr, TRIAL)["loss"])
    tried = {
        "trajectories sampled once": run("base", BATCH, LR, MOST, MARK),
        "naive: a trajectory of the student for every row": run("student", BATCH, LR, MOST, MARK),
        "naive, one row a step": run("student", 1, best, PATIENCE, MARK),
    }
    hook.remove()
    first, *_ = tried.values()
    wanted = MARK * first["start"]
    loops = []
    for name, ran in tried.items():
        shared = ran is first
        seconds = ran["seconds"] + sampled * shared
        evaluations = ran["evaluations"] + once * shared
        loops.append(
            {
                "loop": name,
                "rows_a_step": 1 if "one row" in name else BATCH,
                "lr": best if "one row" in name else LR,
                "steps": ran["steps"],
                "seconds": round(seconds, 2),
                "seconds_a_step": round(seconds / ran["steps"], 4),
                "model_evaluations": round(evaluations),
                "evaluations_a_step": round(evaluations / ran["steps"], 1),
                "loss": round(ran["loss"], 5),
                "reached": ran["loss"] <= wanted,
            }
        )
    reached = all(loop["reached"] for loop in loops[:2])
    record(
        "ESD from shared trajectories",
        model="emoji64",
        prompts=len(WORDS),
        loss_before=round(first["start"], 5),
        loss_asked=round(wanted, 5),
        rates_tried_for_one_row=RATES,
        trial_steps=TRIAL,
        loops=loops,
        seconds=loops[0]["seconds"],
        model_evaluations=loops[0]["model_evaluations"],
        # the time to another loss is no time to compare with
        ratio=round(loops[0]["seconds"] / loops[1]["seconds"], 3) if reached else None,
    )


if __name__ == "__main__":
    main()
