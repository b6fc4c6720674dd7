"""Attacks, one folder a method. They exist to test one's own eraser before it ships, and for nothing else."""

from . import textual_inversion, unlearndiffatk  # noqa: F401
from .attack import ATTACKS, AttackOptions, ThreatModel, make_attack

__all__ = ["ATTACKS", "AttackOptions", "ThreatModel", "make_attack"]
