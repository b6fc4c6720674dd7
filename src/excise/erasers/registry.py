"""The known erasers."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from excise.errors import UserError, first_wrong, refuse_unknown
from excise.models.layers import ParameterGroup

if TYPE_CHECKING:
    from .method import EraserMethod


class EraserOptions(BaseModel):
    """What all fine-tuned erasers share; a method's own options go to ``options``.

    Attributes:
        group: parameters that are fine-tuned; None for those that the method's paper takes.
        retain_weight: weight of the term that holds retain prompts where the base model has them; 0 leaves it out,
            as the original recipes do.
    """

    model_config = ConfigDict(extra="forbid")
    method: str = "esd"
    group: ParameterGroup | None = None
    steps: int = Field(200, ge=1)
    batch: int = Field(16, ge=1)
    lr: float = Field(2e-4, gt=0)
    retain_weight: float = Field(1.0, ge=0)
    trajectories: int = Field(2, ge=1, description="trajectories sampled a fit prompt, each used at all its timesteps")
    guidance: float = Field(3.0, ge=1, description="guidance of these trajectories")
    sampling_steps: int = Field(20, ge=2)
    options: dict[str, Any] = {}


class Registered(NamedTuple):
    """A method's class as ``module:Class``, so that listing methods imports no torch; whether there is a P-X; whether
    ``group`` chooses what X trains."""

    location: str
    maskable: bool
    grouped: bool = True


ERASERS: dict[str, Registered] = {}


def register(name: str, location: str, maskable: bool = True, grouped: bool = True) -> None:
    """Make a method known under a name.

    Args:
        maskable: False where the method is a mask already.
        grouped: False where the method does not ask ``eraser.group`` what it changes: one that is set is refused.
    """
    ERASERS[name] = Registered(location, maskable, grouped)


def method_class(name: str) -> type[EraserMethod]:
    """The class behind a registered name."""
    return resolve_name(ERASERS[name].location)


def make_method(options: EraserOptions) -> EraserMethod:
    """The method that the options name.

    Raises:
        UserError: there is none of that name, or it does not know one of its options.
    """
    refuse_unknown("eraser", options.method, ERASERS)
    if options.group and not ERASERS[options.method].grouped:
        raise UserError(f"erasers.{options.method}.group: this method has parameters of its own, leave it out.")
    try:
        return method_class(options.method)(**options.options)
    except ValueError as error:  # pydantic's is one; a plugin may raise its own
        place, wrong = first_wrong(error)
        raise UserError(f"erasers.{options.method}.options: {place or 'they'} {wrong}.") from None
