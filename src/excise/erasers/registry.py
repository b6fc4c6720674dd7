"""The known erasers."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from excise.errors import UserError
from excise.models.layers import ParameterGroup

if TYPE_CHECKING:
    import torch


class EraserOptions(BaseModel):
    """What all fine-tuned erasers share; a method's own options go to ``options``.

    Attributes:
        group: parameters that are fine-tuned.
        retain_weight: weight of the term that holds retain prompts where the base model has them; 0 leaves it out,
            as the original recipes do.
    """

    model_config = ConfigDict(extra="forbid")
    method: str = "esd"
    group: ParameterGroup = "esd-x"
    steps: int = Field(200, ge=1)
    batch: int = Field(16, ge=1)
    lr: float = Field(2e-4, gt=0)
    retain_weight: float = Field(1.0, ge=0)
    trajectories: int = Field(2, ge=1, description="trajectories sampled a fit prompt, each used at all its timesteps")
    guidance: float = Field(3.0, ge=1, description="guidance of these trajectories")
    sampling_steps: int = Field(20, ge=2)
    options: dict[str, Any] = {}


class Method(Protocol):
    """A fine-tuned eraser: a target for the student's noise on the concept."""

    def target(self, blank: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """What the student shall predict, from the frozen model's noise on the empty prompt and on the concept."""
        ...


ERASERS: dict[str, type] = {}


def register(name: str, method: type) -> None:
    """Make a method known under a name."""
    ERASERS[name] = method


def make_method(options: EraserOptions) -> Method:
    """The method that the options name.

    Raises:
        UserError: there is none of that name, or it does not know one of its options.
    """
    if options.method not in ERASERS:
        near = get_close_matches(options.method, ERASERS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(sorted(ERASERS))}."
        raise UserError(f"There is no eraser '{options.method}': {hint}")
    try:
        return ERASERS[options.method](**options.options)
    except ValueError as error:
        detail = str(error).splitlines()[1:3]
        raise UserError(f"eraser.options: {' '.join(d.strip() for d in detail)}") from None
