"""What kinds of checkpoint there are, and what each says a checkpoint changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from excise.errors import UserError

if TYPE_CHECKING:
    import torch

    from .checkpoint import Checkpoint
    from .layout import Layout


class Low(NamedTuple):
    """A difference of low rank, ``scale`` times ``up`` (m, r, …) times ``down`` (r, n, …)."""

    up: torch.Tensor
    down: torch.Tensor
    scale: float


@dataclass
class Change:
    """What a checkpoint does to a base model. Names are an eraser's (``excise.models.parts``).

    Attributes:
        weights: parameter -> its value in the checkpoint, which may be the base model's own.
        added: parameter -> differences that are added to the base model's value.
        pruned: parameter -> bool, True where the weight becomes zero.
        autoencoder: the same as ``weights`` for the autoencoder, which nothing here changes: it is only compared.
        base: hash of the base model that it says it was made for; empty where it does not say.
        notes: what a reader should know of how it was read, a sentence each.
    """

    weights: Mapping[str, torch.Tensor] = field(default_factory=dict)
    added: Mapping[str, list[Low]] = field(default_factory=dict)
    pruned: Mapping[str, torch.Tensor] = field(default_factory=dict)
    autoencoder: Mapping[str, torch.Tensor] = field(default_factory=dict)
    base: str = ""
    notes: list[str] = field(default_factory=list)


class Kind(Protocol):
    """One kind of checkpoint.

    Attributes:
        what: the kind in words, for a report.
    """

    what: str

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint is of this kind, from its keys, headers and configs alone."""
        ...

    def masks(self, checkpoint: Checkpoint) -> bool:
        """Whether it says which weights a mask set to zero."""
        ...

    def read(self, checkpoint: Checkpoint, tensors: Mapping[str, torch.Tensor], layout: Layout) -> Change:
        """What it changes in a model of this layout.

        Args:
            tensors: by key; with shapes alone where it is only checked.

        Raises:
            UserError: it is not of this model, or has keys that are not known.
        """
        ...


def autoencoder_alone(path: Any) -> str:
    """What to say of a checkpoint that holds nothing else."""
    return (
        f"'{path}' holds only an autoencoder, which is not audited: point the parameter 'checkpoint' to what was "
        "erased, a denoiser or a text encoder."
    )


KINDS: dict[str, str] = {}


def register(name: str, location: str) -> None:
    """Make a kind known: a name -> ``module:Class``. Kinds are asked in the order in which they are registered."""
    KINDS[name] = location


def kind_of(checkpoint: Checkpoint) -> tuple[str, Kind]:
    """The first kind that recognises a checkpoint, and its name.

    Raises:
        UserError: none does.
    """
    for name, location in KINDS.items():
        kind = resolve_name(location)()
        if kind.recognises(checkpoint):
            return name, kind
    raise UserError(
        f"'{checkpoint.path}' is no kind of checkpoint that is known here, which are {', '.join(KINDS)}: its first key "
        f"is '{next(iter(checkpoint.keys), 'none at all')}'."
    )
