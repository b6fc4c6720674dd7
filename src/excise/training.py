"""One training loop for everything that is trained here: resumable, with an average of the weights.

Accelerate is not used here on purpose: its checkpoints are pickled. State goes to safetensors.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from excise.cache import finished, write_atomically

if TYPE_CHECKING:
    import torch


class LoopOptions(BaseModel):
    """How long and how fast something is trained."""

    model_config = ConfigDict(extra="forbid")
    steps: int = Field(gt=0)
    batch: int = Field(gt=0)
    lr: float = Field(gt=0, description="highest learning rate, reached after `warmup` steps")
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = 100
    weight_decay: float = 0.01
    ema: float = Field(0.999, ge=0, lt=1)
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    betas: tuple[float, float] = (0.9, 0.99)
    bf16: bool = Field(True, description="compute in bfloat16 where the hardware does that fast, else in float32")
    checkpoint_seconds: float = 120.0


def adam_loop(steps: int, batch: int, lr: float, weight_decay: float = 0.0) -> LoopOptions:
    """Plain Adam at a constant rate, in float32: what erasers and attacks are trained with."""
    return LoopOptions(
        steps=steps,
        batch=batch,
        lr=lr,
        schedule="constant",
        warmup=1,
        weight_decay=weight_decay,
        ema=0.0,
        clip=1e9,
        bf16=False,
        betas=(0.9, 0.999),
    )


class EMA:
    """Exponential moving average of a model's weights, with a warm start."""

    def __init__(self, model: torch.nn.Module, decay: float):
        self.decay = decay
        self.shadow = {k: v.detach().clone() for k, v in model.state_dict().items() if v.is_floating_point()}

    def update(self, model: torch.nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        state = model.state_dict()  # detached: nothing here is recorded for a gradient
        for name, value in self.shadow.items():
            if decay:
                value.lerp_(state[name], 1 - decay)
            else:  # not the same as a lerp: a value that is infinite would become NaN
                value.copy_(state[name])


def fast_bf16(device: str) -> bool:
    """Whether the hardware has bfloat16 arithmetic; a processor that has to emulate it is ten times slower."""
    import torch

    if device == "cpu":
        return any(found for name, found in getattr(torch.cpu, "get_capabilities", dict)().items() if "bf16" in name)
    return device != "cuda" or torch.cuda.is_bf16_supported()


def learning_rate(options: LoopOptions, step: int) -> float:
    """Linear warm-up, then constant, or a cosine to 2 % of the highest rate."""
    warm = min(1.0, (step + 1) / max(1, options.warmup))
    if options.schedule == "constant":
        return options.lr * warm
    return options.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / options.steps)))


def train(
    model: torch.nn.Module,
    loss_of: Callable[[int], dict[str, torch.Tensor]],
    options: LoopOptions,
    folder: Path,
    title: str,
    after_step: Callable[[int], None] | None = None,
    pace: Callable[[str], float] = lambda name: 1.0,
) -> list[dict[str, float]]:
    """Train ``model`` in place and leave it with its averaged weights.

    Args:
        loss_of: from a step number to named losses; the entry ``loss`` is minimised. The batch must depend on
            nothing but the step, so that a resumed run equals an uninterrupted one.
        folder: the checkpoint lives here; a finished folder returns at once.
        after_step: called when the weights have moved, for projections.
        pace: a parameter's learning rate over ``options.lr``, by its name.

    Returns:
        Mean losses for every 50 steps.

    Raises:
        UserError: a loss is no finite number.
    """
    import torch
    from tqdm import tqdm

    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.safetensors"
    paces: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            paces.setdefault(pace(name), []).append(parameter)
    parameters = [p for group in paces.values() for p in group]
    groups = [{"params": group, "pace": factor} for factor, group in paces.items()]
    optimizer = torch.optim.AdamW(groups, lr=options.lr, weight_decay=options.weight_decay, betas=options.betas)
    ema, start, rows, sums, count = EMA(model, options.ema), 0, [], {}, 0
    if finished(checkpoint):
        start, rows, sums, count = _restore(checkpoint, model, ema, optimizer)
    device = parameters[0].device.type
    bf16 = options.bf16 and fast_bf16(device)
    saved = time.monotonic()
    model.train()
    bar = tqdm(range(start, options.steps), initial=start, total=options.steps, desc=title, mininterval=2.0)
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = group["pace"] * learning_rate(options, step)
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            losses = loss_of(step)
        optimizer.zero_grad(set_to_none=True)
        if not torch.isfinite(losses["loss"]):
            from excise.errors import UserError

            raise UserError(f"{title}: the loss of step {step + 1} is no finite number: set the learning rate lower.")
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(parameters, options.clip)
        optimizer.step()
        if after_step:
            after_step(step)
        ema.update(model, step)
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        count += 1
        if (step + 1) % 50 == 0 or step + 1 == options.steps:
            rows.append({"step": step + 1, **{k: v / count for k, v in sums.items()}})
            bar.set_postfix({k: f"{v / count:.4f}" for k, v in sums.items()}, refresh=False)
            sums, count = {}, 0
        if time.monotonic() - saved > options.checkpoint_seconds or step + 1 == options.steps:
            _save(checkpoint, model, ema, optimizer, {"step": step + 1, "rows": rows, "sums": sums, "count": count})
            saved = time.monotonic()
    model.load_state_dict(ema.shadow, strict=False)
    return rows


def _save(path: Path, model, ema: EMA, optimizer, told: dict) -> None:
    import torch
    from safetensors.torch import save_file

    tensors = {f"model.{k}": v.contiguous() for k, v in model.state_dict().items()}
    tensors |= {f"ema.{k}": v.contiguous() for k, v in ema.shadow.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{k}": torch.as_tensor(v).contiguous() for k, v in state.items()}
    copies, header = {k: v.clone() for k, v in tensors.items()}, {k: json.dumps(v) for k, v in told.items()}
    write_atomically(path, lambda draft: save_file(copies, draft, header))


def _restore(path: Path, model, ema: EMA, optimizer) -> tuple[int, list, dict, int]:
    from safetensors import safe_open

    # opened once: another process at the same work may put a later state in its place at any time
    with safe_open(path, "pt", device=str(next(model.parameters()).device)) as file:
        header, tensors = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118  (it is no dict)
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    ema.shadow = {k[4:]: v for k, v in tensors.items() if k.startswith("ema.")}
    state: dict[int, dict] = {}
    for name, value in tensors.items():
        if name.startswith("adam."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    told = {"sums": {}, "count": 0} | {k: json.loads(v) for k, v in header.items()}
    return told["step"], told["rows"], told["sums"], told["count"]
