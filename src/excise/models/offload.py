"""Modules that rest in the machine's memory and come to the device when they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

RESTING_PLACE = "cpu"


def bring_on_call(part: nn.Module, device: str) -> None:
    """Let a part rest, and come to ``device`` for each call of it.

    An autoencoder is called by its encoder's or its decoder's name, never as a whole: its modules come one by one.
    """
    autoencoder = hasattr(part, "decode") and hasattr(part, "encode")
    for module in part.children() if autoencoder else [part]:
        module.to(RESTING_PLACE)
        module.register_forward_pre_hook(lambda called, args: called.to(device) and None)
        module.register_forward_hook(lambda called, args, out: called.to(RESTING_PLACE) and None, always_call=True)
