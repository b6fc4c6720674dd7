"""What every eraser method is: what it starts from, what its student learns, what it holds on to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import BaseModel, ConfigDict

from excise.models.layers import ParameterGroup
from excise.models.schedule import STEPS

from .material import Material

if TYPE_CHECKING:
    from excise.models.diffusion import DiffusionModel

    from .registry import EraserOptions

Student = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Lesson:
    """Rows for the student: at ``latents`` (n, c, h, w) and ``times`` (n,), given ``states`` (n, L, d), it shall
    predict ``target`` (n, c, h, w)."""

    latents: torch.Tensor
    times: torch.Tensor
    states: torch.Tensor
    target: torch.Tensor


class EraserMethod(BaseModel):
    """Base of all methods; a method's options are its fields.

    Class attributes:
        group: the parameters that the method's paper changes; ``eraser.group`` overrides it.
        anchored: whether it needs trajectories of the neutral twins.
        trained: False where ``start`` (or ``mask``) is the whole method and no step is taken.
    """

    model_config = ConfigDict(extra="forbid")
    group: ClassVar[ParameterGroup] = "esd-x"
    anchored: ClassVar[bool] = False
    trained: ClassVar[bool] = True

    def prepare(
        self, model: DiffusionModel, options: EraserOptions, material: Material, seed: int, folder: Path, title: str
    ) -> EraserMethod:
        """The method with what it has to find out before any training; itself by default.

        Args:
            folder: work in progress, shared by X, X+ and P-X: it may not depend on ``material.adversarial``.
        """
        return self

    def start(self, model: DiffusionModel, material: Material) -> dict[str, torch.Tensor]:
        """Weights that are solved for before any training: parameter name -> value. None by default."""
        return {}

    def mask(self, model: DiffusionModel, material: Material) -> dict[str, torch.Tensor]:
        """Weights that the method itself prunes: parameter name -> bool. None by default."""
        return {}

    def salient(self, model: DiffusionModel, material: Material, names: list[str]) -> dict[str, torch.Tensor] | None:
        """The only weights that training may move: parameter name -> bool; None for all."""
        return None

    def work(self, options: EraserOptions) -> int:
        """Evaluations with a backward pass that training X takes."""
        return options.steps * options.batch * (2 if options.retain_weight > 0 else 1) if self.trained else 0

    def train(
        self, model: DiffusionModel, options: EraserOptions, material: Material, seed: int, folder: Path, title: str
    ) -> tuple[dict[str, torch.Tensor], list[dict]]:
        """Fine-tune weights with the method's own loss; the changed parameters and the loss curve."""
        from .finetune import train_weights

        group, retain = options.group or self.group, options.retain_weight
        return train_weights(model, self, options, group, options.steps, retain, material, seed, folder, title)

    def lesson(
        self,
        model: DiffusionModel,
        material: Material,
        steps: torch.Tensor,
        rows: torch.Tensor,
        generator: torch.Generator,
        student: Student,
    ) -> Lesson:
        """What the student learns on the concept.

        Args:
            model: frozen.
            steps, rows: (n,) indices into the banks of concept and anchor.
            generator: source of all that is random.
            student: its predictions as it is now, without a gradient.
        """
        raise NotImplementedError

    def keep(self, model: DiffusionModel, material: Material, count: int, generator: torch.Generator) -> Lesson:
        """What the student holds on to: the frozen model's predictions on retain prompts, and for one row in six on
        the empty prompt, which guidance uses too.

        Args:
            generator: seeded for the step, with a number that grows by one from step to step: in batches of fewer than
                six, rows are counted on over the steps.
        """
        bank = material.retain
        steps, rows = bank.draw(generator, count)
        turn = generator.initial_seed() * count % 6 if count < 6 else 0
        empty = ((torch.arange(count) + turn) % 6 == 5).view(-1, 1, 1).to(bank.states.device)
        return Lesson(
            bank.latents[steps, rows],
            bank.times[steps],
            torch.where(empty, model.encode([""]), bank.states[rows]),
            torch.where(empty.unsqueeze(-1), bank.blank[steps, rows], bank.wanted[steps, rows]),
        )


def noised(
    model: DiffusionModel, clean: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clean latents at uniformly drawn timesteps: (noisy latents, times, what a perfect denoiser predicts there)."""
    times = torch.randint(STEPS, (len(clean),), generator=generator).to(clean.device)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    return model.add_noise(clean, noise, times), times, model.target(clean, noise, times)
