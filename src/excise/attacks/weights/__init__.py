"""What attacks on the weights share: new values of parameters, kept in a file, and the prompts as they stand."""

from .attack import WeightsAttack

__all__ = ["WeightsAttack"]
