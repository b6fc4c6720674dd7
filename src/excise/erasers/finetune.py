"""Train an eraser: weights (X, X+) or gates (P-X) under one and the same loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from excise.masks.gates import Gates, make_gates
from excise.masks.options import PruneOptions
from excise.models.diffusion import DiffusionModel
from excise.models.layers import parameter_names
from excise.training import adam_loop, train

from .material import Material
from .method import EraserMethod
from .registry import EraserOptions

Values = dict[str, torch.Tensor]


class Weights(nn.Module):
    """Trainable copies of some of a model's parameters.

    Args:
        start: values to start from, where they are not the model's own.
        salient: parameter name -> bool; where it is False a weight does not move.
    """

    def __init__(self, denoiser: nn.Module, names: list[str], start: Values, salient: Values | None):
        super().__init__()
        self.names = names
        first = [start.get(n, denoiser.get_parameter(n)).detach().float().clone() for n in names]
        self.values = nn.ParameterList(first)
        if salient is not None:
            for name, value in zip(names, self.values, strict=True):
                moves = salient[name].to(value.device)
                value.register_hook(lambda gradient, moves=moves: gradient * moves)

    def current(self) -> Values:
        return dict(zip(self.names, self.values, strict=True))


def erasure_loss(
    model: DiffusionModel,
    method: EraserMethod,
    batch: int,
    retain_weight: float,
    material: Material,
    seed: int,
) -> Callable[[int, Values], Values]:
    """L_erase + λ L_retain for a student that is the frozen model with some parameters replaced.

    Half of the concept batch takes adversarial prompts where there are any: in the place of the concept prompt that
    they were made from, with the same target. A batch of one takes them at every other step.
    """

    def loss_of(step: int, replaced: Values) -> Values:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        steps, rows = material.concept.draw(generator, batch)

        @torch.no_grad()
        def student(latents: torch.Tensor, times: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
            return model.predict(latents, times, states, replaced)

        lesson = method.lesson(model, material, steps, rows, generator, student)
        states = lesson.states
        if material.adversarial is not None:
            turn = step if batch == 1 else 0
            attacked = ((torch.arange(batch) + turn) % 2 == 1).view(-1, 1, 1).to(states.device)
            states = torch.where(attacked, material.adversarial[rows], states)
        latents, times, target = [lesson.latents], [lesson.times], [lesson.target]
        if retain_weight > 0:
            kept = method.keep(model, material, batch, generator)
            states = torch.cat([states, kept.states])
            latents.append(kept.latents)
            times.append(kept.times)
            target.append(kept.target)
        predicted = model.predict(torch.cat(latents), torch.cat(times), states, replaced)
        errors = (predicted - torch.cat(target)).pow(2).mean((1, 2, 3))
        erase = errors[:batch].mean()
        keep = errors[batch:].mean() if retain_weight > 0 else torch.zeros(())
        return {"loss": erase + retain_weight * keep, "erase": erase.detach(), "retain": keep.detach()}

    return loss_of


def train_weights(
    model: DiffusionModel,
    method: EraserMethod,
    options: EraserOptions,
    group: str,
    steps: int,
    retain_weight: float,
    material: Material,
    seed: int,
    folder: Path,
    title: str,
    pruned: Values | None = None,
) -> tuple[Values, list[dict]]:
    """Fine-tune weights from where the method starts; returns the changed parameters and the loss curve.

    Args:
        pruned: parameter name -> bool, a fixed mask to train under: where it is True the weight is zero.
    """
    names = parameter_names(model.denoiser, group)
    start = method.start(model, material)
    weights = Weights(model.denoiser, names, start, method.salient(model, material, names))
    loss_of = erasure_loss(model, method, options.batch, retain_weight, material, seed)
    solved = {n: w for n, w in start.items() if n not in names}
    loop = adam_loop(steps, options.batch, options.lr)
    stays = {n: (~p).to(model.device, torch.float32) for n, p in (pruned or {}).items()}

    def loss_under_mask(step: int) -> Values:
        return loss_of(step, {**solved, **{n: w * stays[n] if n in stays else w for n, w in weights.current().items()}})

    rows = train(weights, loss_under_mask, loop, folder, title)
    return changed(model, {**solved, **weights.current()}), rows


class Gated(nn.Module):
    """Weights behind gates.

    Args:
        first: the weights at the start.
        trained: whether weights move, or gates alone.
        salient: parameter name -> bool; where it is False a weight does not move.
    """

    def __init__(self, gates: Gates, first: Values, trained: bool, salient: Values | None):
        super().__init__()
        self.gates, self.first = gates, first
        self.moves = nn.ParameterList(torch.zeros_like(w, dtype=torch.float32) for w in first.values() if trained)
        if salient is not None:
            for name, move in zip(first, self.moves, strict=False):
                moves = salient[name].to(move.device)
                move.register_hook(lambda gradient, moves=moves: gradient * moves)

    def weights(self) -> Values:
        """Before they are gated: parameter name -> value."""
        if not len(self.moves):
            return self.first
        return {n: w + move for (n, w), move in zip(self.first.items(), self.moves, strict=True)}


def prunable(
    model: DiffusionModel, method: EraserMethod, material: Material, support: Values
) -> tuple[Values, Values | None]:
    """Of a support what a method may touch, and where it may move weights (parameter name -> bool; None: anywhere)."""
    salient = method.salient(model, material, list(support))
    return (support if salient is None else {n: s & salient[n] for n, s in support.items()}), salient


def train_mask(
    model: DiffusionModel,
    method: EraserMethod,
    options: EraserOptions,
    prune: PruneOptions,
    support: Values,
    scores: Values,
    material: Material,
    seed: int,
    folder: Path,
    title: str,
) -> tuple[Values, Values, list[dict]]:
    """Learn which weights to drop, all weights frozen where the method starts or trained along (``weight_lr``).

    Loss: L_erase(θ · m) + λ_retain L_retain(θ · m) + λ_sparse · fraction pruned (our reconstruction).

    Returns:
        The weights that the method solved for or that were trained, the pruned positions, and the loss curve.
    """
    start = method.start(model, material)
    support, salient = prunable(model, method, material, support)
    gates = make_gates(support, scores, prune, model.denoiser).to(model.device)
    first = {n: start.get(n, model.denoiser.get_parameter(n)).detach() for n in gates.names}
    weight_lr = prune.rate_of_weights(options.lr)
    gated = Gated(gates, first, weight_lr > 0, salient)
    fixed = {n: w for n, w in start.items() if n not in first}
    loss_of = erasure_loss(model, method, options.batch, prune.retain_weight, material, seed)

    def gated_loss(step: int) -> Values:
        generator = torch.Generator().manual_seed(seed * 7_000_003 + step)
        open_ = gates.spread_out(gates.sample(generator))
        losses = loss_of(step, {**fixed, **{n: w * open_[n] for n, w in gated.weights().items()}})
        closed = gates.closed_fraction()
        return {**losses, "loss": losses["loss"] + prune.sparse_weight * closed, "closed": closed.detach()}

    def pace(name: str) -> float:
        return weight_lr / prune.lr if name.startswith("moves.") else 1.0

    rows = train(gated, gated_loss, adam_loop(prune.steps, options.batch, prune.lr), folder, title, pace=pace)
    return changed(model, {**start, **gated.weights()}), gates.pruned(), rows


def changed(model: DiffusionModel, values: Values) -> Values:
    """Of some parameters' values those that are not the model's own, in its precision, on the CPU."""
    stored = {n: v.detach().to(model.dtype).cpu() for n, v in values.items()}
    own = model.weights()
    return {n: v for n, v in stored.items() if not torch.equal(v, own[n].cpu())}
