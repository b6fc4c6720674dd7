"""ESD from trajectories that are sampled once, against the naive loop: one partial trajectory of the student a step.

Both train the same parameters without a retain term, until their loss on rows that neither trains on has come down to
``MARK`` of what it was. The first takes ``BATCH`` rows a step. The second takes one, for which that learning rate is
too high (the loss rises): it is scaled to the batch, by its square root or by all of it, whichever is better in a trial
that is not counted. It gives up after ``PATIENCE`` steps.
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

MARK, BATCH, SAMPLING, LR = 0.5, 16, 16, 1e-3
RATES, TRIAL, MOST, PATIENCE = (LR / BATCH**0.5, LR / BATCH), 100, 200, 1000
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
            build_bank(model, WORDS, [s + 100 * k for s in range(8)], SAMPLING, 2.0, Path(folder) / f"{k}", "sampling")
            for k in (0, 1)
        )
        sampled = (time.perf_counter() - start) / 2
    evaluations = {"shared": count[0] / 2, "naive": 0.0}
    once = evaluations["shared"]
    words = Words(["man"], "robot", [])
    target = make_method(EraserOptions(method="esd", options={"negative_guidance": 1.0}))

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
        method = make_method(EraserOptions(method="esd", options={"negative_guidance": 1.0, "follow": follow}))
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

    shared = run("base", BATCH, LR, MOST, MARK)
    best = min(RATES, key=lambda lr: run("student", 1, lr, TRIAL)["loss"])
    naive = run("student", 1, best, PATIENCE, MARK)
    wanted = MARK * shared["start"]
    if shared["loss"] > wanted:
        raise RuntimeError(f"trajectories sampled once did not reach the mark in {MOST} steps")
    reached = naive["loss"] <= wanted
    hook.remove()
    record(
        "ESD from shared trajectories",
        model="emoji64",
        prompts=len(WORDS),
        seconds=round(shared["seconds"] + sampled, 2),
        seconds_a_step=round(shared["seconds"] / shared["steps"], 4),
        model_evaluations=int(shared["evaluations"] + once),
        evaluations_a_step=round((shared["evaluations"] + once) / shared["steps"], 1),
        steps=shared["steps"],
        rows_a_step=BATCH,
        lr=LR,
        loss_before=round(shared["start"], 5),
        loss_asked=round(wanted, 5),
        loss=round(shared["loss"], 5),
        naive_lr=best,
        naive_lrs_tried=RATES,
        naive_trial_steps=TRIAL,
        naive_seconds=round(naive["seconds"], 2),
        naive_steps=naive["steps"],
        naive_seconds_a_step=round(naive["seconds"] / naive["steps"], 4),
        naive_evaluations_a_step=round(naive["evaluations"] / naive["steps"], 1),
        naive_loss=round(naive["loss"], 5),
        naive_reached_it=reached,
        # the time to another loss is no time to compare with
        ratio=round((shared["seconds"] + sampled) / naive["seconds"], 3) if reached else None,
    )


if __name__ == "__main__":
    main()
