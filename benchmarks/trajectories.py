"""ESD from trajectories that are sampled once, against naive loops, which sample a new one for every row of every step.

All train the same parameters without a retain term, until their loss on rows that none trains on has come down to
``MARK`` of what it was, in two places: on the base model's trajectories, where the first loop learns, and on the
student's own as it is then; all trajectories are at ``GUIDANCE``. A naive loop samples the frozen base model anew, as
the authors' later code does (then both loops have one and the same loss, and can be held to it), or the student as it
is, as their first did. The first loop takes ``BATCH`` rows a step. The naive ones are tried with as many rows, each
from a partial trajectory of its own, and as they are published, with one: then the learning rate is too high for so few
rows, and is scaled to them, by its square root or by all of it, whichever is better where that loop learns, in a trial
that is not counted. A naive loop ends when it is there in the place where it learns, and all give up after ``PATIENCE``
steps (``MOST`` with ``BATCH`` rows).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from timing import record

from excise.erasers.bank import build_bank
from excise.erasers.esd.method import ESD
from excise.erasers.finetune import Weights, erasure_loss
from excise.erasers.material import Material, Words
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.models.layers import parameter_names

MARK, BATCH, SAMPLING, GUIDANCE, LR = 0.5, 16, 16, 2.0, 1e-3
RATES, TRIAL, MOST, PATIENCE, CHECK = (LR / BATCH**0.5, LR / BATCH), 30, 40, 100, 5
PLACES = ("base", "own")
OPTIONS: dict = {"negative_guidance": 1.0, "guidance": GUIDANCE}
WORDS = ["a man", "a woman", "an old man", "a blond woman", "a bald man", "a curly woman", "a guy", "a lady"]


class Fresh(ESD):
    """Walks along the base model's trajectories, each from new noise."""

    def walk(self, model, total, steps, states, generator, student) -> torch.Tensor:
        return super().walk(model, total, steps, states, generator, model.predict)


LEARNS = {  # where a loop's latents come from
    "shared": ESD(**OPTIONS),
    "base": Fresh(**OPTIONS, follow="student"),
    "own": ESD(**OPTIONS, follow="student"),
}


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
    evaluated = count[0] / 2
    words = Words(["man"], "robot", [])
    method = LEARNS["shared"]

    @torch.no_grad()
    def held_out(weights: Weights) -> dict[str, float]:
        """Where the base model goes, and where the student goes as it is."""
        replaced, empty = weights.current(), model.encode([""]).expand_as(held.states)

        def student(latents: torch.Tensor, times: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
            return model.predict(latents, times, states, replaced)

        seeds = [10_000 + k for k in range(len(held.states))]
        own = model.sample(held.states, seeds, SAMPLING, GUIDANCE, keep=True, predict=student).latents
        errors: dict[str, list[float]] = {place: [] for place in PLACES}
        for t in range(0, SAMPLING, 3):
            times = held.times[t].expand(len(held.states))
            for place, latents in (("base", held.latents[t]), ("own", own[t])):
                wanted = model.predict(latents, times, held.states)
                target = method.target(model.predict(latents, times, empty), wanted)
                errors[place].append(float((student(latents, times, held.states) - target).pow(2).mean()))
        return {place: sum(found) / len(found) for place, found in errors.items()}

    def run(learns: str, batch: int, lr: float, most: int, mark: float = 0.0) -> dict:
        method = LEARNS[learns]
        weights = Weights(model.denoiser, names, {}, None)
        loss_of = erasure_loss(model, method, batch, 0.0, Material(train, None, train, words), 0)
        adam = torch.optim.Adam(weights.parameters(), lr=lr)
        seconds, before, spent, step = 0.0, count[0], 0, 0
        loss = first = held_out(weights)
        reached: dict[str, dict] = {}
        goals = PLACES if learns == "shared" else (learns,)  # a naive loop is held to where it learns
        while step < most and not set(goals) <= set(reached):
            count[0], start = 0, time.perf_counter()
            adam.zero_grad()
            loss_of(step, weights.current())["loss"].backward()
            adam.step()
            seconds += time.perf_counter() - start
            spent, step = spent + count[0], step + 1
            if step % CHECK == 0 or step == most:
                loss = held_out(weights)
                for place in PLACES:
                    if loss[place] <= mark * first[place]:
                        told = {"steps": step, "seconds": seconds, "evaluations": spent, "loss": loss[place]}
                        reached.setdefault(place, told)
        count[0] = before
        return {
            "steps": step,
            "seconds": seconds,
            "evaluations": spent,
            "loss": loss,
            "start": first,
            "reached": reached,
        }

    best = {place: min(RATES, key=lambda lr: run(place, 1, lr, TRIAL)["loss"][place]) for place in PLACES}
    asked = {
        "trajectories sampled once": ("shared", BATCH, LR, MOST),
        "naive: the base model sampled for every row": ("base", BATCH, LR, MOST),
        "naive: the student sampled for every row": ("own", BATCH, LR, MOST),
        "naive: the base model, one row a step": ("base", 1, best["base"], PATIENCE),
        "naive: the student, one row a step": ("own", 1, best["own"], PATIENCE),
    }
    tried = {name: run(*how, MARK) for name, how in asked.items()}
    hook.remove()
    first = tried["trajectories sampled once"]
    loops = []
    for name, ran in tried.items():
        once = {"seconds": sampled, "evaluations": evaluated} if ran is first else {"seconds": 0.0, "evaluations": 0}
        loops.append(
            {
                "loop": name,
                **dict(zip(("learns", "rows_a_step", "lr"), asked[name][:3], strict=True)),
                "steps": ran["steps"],
                "seconds_a_step": round((ran["seconds"] + once["seconds"]) / ran["steps"], 4),
                "evaluations_a_step": round((ran["evaluations"] + once["evaluations"]) / ran["steps"], 1),
                "reached": {place: _told(ran["reached"].get(place), once) for place in PLACES},
                "loss": {place: round(ran["loss"][place], 5) for place in PLACES},
            }
        )
    # the time to another loss is no time to compare with
    naive = {place: next(loop for loop in loops if loop["learns"] == place) for place in PLACES}
    both = {place: (loops[0]["reached"][place], loop["reached"][place]) for place, loop in naive.items()}
    ratios = {place: round(a["seconds"] / b["seconds"], 3) if a and b else None for place, (a, b) in both.items()}
    record(
        "ESD from shared trajectories",
        model="emoji64",
        prompts=len(WORDS),
        loss_before={place: round(first["start"][place], 5) for place in PLACES},
        loss_asked={place: round(MARK * first["start"][place], 5) for place in PLACES},
        rates_tried_for_one_row=RATES,
        trial_steps=TRIAL,
        loops=loops,
        seconds=round(first["seconds"] + sampled, 2),
        model_evaluations=round(first["evaluations"] + evaluated),
        ratios=ratios,
        ratio=ratios["base"],
    )


def _told(reached: dict | None, once: dict) -> dict | None:
    """After how much a loop was there, with what was sampled once; None where it never was."""
    if reached is None:
        return None
    return {
        "steps": reached["steps"],
        "seconds": round(reached["seconds"] + once["seconds"], 2),
        "model_evaluations": round(reached["evaluations"] + once["evaluations"]),
        "loss": round(reached["loss"], 5),
    }


if __name__ == "__main__":
    main()
