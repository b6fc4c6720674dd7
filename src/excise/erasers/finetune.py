"""Train an eraser: weights (X, X+) or gates (P-X) under one and the same loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.func import functional_call

from excise.masks.gates import HardConcrete
from excise.masks.options import PruneOptions
from excise.models.diffusion import DiffusionModel
from excise.models.layers import parameter_names
from excise.training import LoopOptions, train

from .bank import Bank
from .registry import EraserOptions, make_method


class Weights(nn.Module):
    """Trainable copies of some of a model's parameters."""

    def __init__(self, denoiser: nn.Module, names: list[str]):
        super().__init__()
        self.names = names
        self.values = nn.ParameterList([denoiser.get_parameter(n).detach().float().clone() for n in names])

    def current(self) -> dict[str, torch.Tensor]:
        return dict(zip(self.names, self.values, strict=True))


def erasure_loss(
    model: DiffusionModel,
    options: EraserOptions,
    retain_weight: float,
    concept: Bank,
    retain: Bank,
    adversarial: torch.Tensor | None,
    seed: int,
) -> Callable[[int, dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    """L_erase + λ L_retain for a student that is the frozen model with some parameters replaced.

    Half of the concept batch takes adversarial prompts where there are any: at the latents of the concept prompt that
    they were made from, with the same target. One in six retain rows is the empty prompt, which guidance uses too.

    Args:
        adversarial: (n, L, d) states, row i made from concept prompt i; or None.
    """
    method = make_method(options)
    blank_state = model.encode([""])

    def loss_of(step: int, replaced: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        steps, rows = concept.draw(generator, options.batch)
        states = concept.states[rows]
        if adversarial is not None:
            attacked = (torch.arange(options.batch) % 2 == 1).view(-1, 1, 1).to(states.device)
            states = torch.where(attacked, adversarial[rows], states)
        wanted = method.target(concept.blank[steps, rows], concept.wanted[steps, rows])
        latents, times = [concept.latents[steps, rows]], [concept.times[steps]]
        if retain_weight > 0:
            r_steps, r_rows = retain.draw(generator, options.batch)
            empty = (torch.arange(options.batch) % 6 == 5).view(-1, 1, 1).to(states.device)
            states = torch.cat([states, torch.where(empty, blank_state, retain.states[r_rows])])
            kept = torch.where(empty.unsqueeze(-1), retain.blank[r_steps, r_rows], retain.wanted[r_steps, r_rows])
            wanted = torch.cat([wanted, kept])
            latents.append(retain.latents[r_steps, r_rows])
            times.append(retain.times[r_steps])
        arguments = (torch.cat(latents), torch.cat(times), states)
        predicted = functional_call(model.denoiser, replaced, arguments).sample
        errors = (predicted - wanted).pow(2).mean((1, 2, 3))
        erase = errors[: options.batch].mean()
        keep = errors[options.batch :].mean() if retain_weight > 0 else torch.zeros(())
        return {"loss": erase + retain_weight * keep, "erase": erase.detach(), "retain": keep.detach()}

    return loss_of


def train_weights(
    model: DiffusionModel,
    options: EraserOptions,
    group: str,
    steps: int,
    retain_weight: float,
    concept: Bank,
    retain: Bank,
    adversarial: torch.Tensor | None,
    seed: int,
    folder: Path,
    title: str,
) -> tuple[dict[str, torch.Tensor], list[dict]]:
    """Fine-tune weights; returns the changed parameters and the loss curve."""
    weights = Weights(model.denoiser, parameter_names(model.denoiser, group))
    loss_of = erasure_loss(model, options, retain_weight, concept, retain, adversarial, seed)
    loop = _loop(steps, options.batch, options.lr)
    rows = train(weights, lambda step: loss_of(step, weights.current()), loop, folder, title)
    changed = {n: v.detach().to(model.dtype).cpu() for n, v in weights.current().items()}
    return {n: v for n, v in changed.items() if not torch.equal(v, model.denoiser.get_parameter(n).cpu())}, rows


def train_mask(
    model: DiffusionModel,
    options: EraserOptions,
    prune: PruneOptions,
    support: dict[str, torch.Tensor],
    scores: dict[str, torch.Tensor],
    concept: Bank,
    retain: Bank,
    adversarial: torch.Tensor | None,
    seed: int,
    folder: Path,
    title: str,
) -> tuple[dict[str, torch.Tensor], list[dict]]:
    """Learn which weights to drop, all weights frozen; returns the pruned positions and the loss curve.

    Loss: L_erase(θ · m) + λ_retain L_retain(θ · m) + λ_sparse · fraction pruned (our reconstruction).
    """
    gates = HardConcrete(support, scores, prune).to(model.device)
    frozen = {n: model.denoiser.get_parameter(n).detach() for n in gates.names}
    loss_of = erasure_loss(model, options, prune.retain_weight, concept, retain, adversarial, seed)

    def gated_loss(step: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed * 7_000_003 + step)
        open_ = gates.spread_out(gates.sample(generator))
        losses = loss_of(step, {n: frozen[n] * open_[n] for n in gates.names})
        closed = gates.closed_fraction()
        return {**losses, "loss": losses["loss"] + prune.sparse_weight * closed, "closed": closed.detach()}

    rows = train(gates, gated_loss, _loop(prune.steps, options.batch, prune.lr), folder, title)
    return gates.pruned(), rows


def _loop(steps: int, batch: int, lr: float) -> LoopOptions:
    """Adam at a constant rate, no decay: what erasers are trained with."""
    return LoopOptions(
        steps=steps,
        batch=batch,
        lr=lr,
        schedule="constant",
        warmup=1,
        weight_decay=0.0,
        ema=0.0,
        clip=1e9,
        bf16=False,
        betas=(0.9, 0.999),
    )
