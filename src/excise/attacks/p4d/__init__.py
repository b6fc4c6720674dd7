"""Prompting4Debugging (Chin et al. 2024): imitate what the base model predicts. For testing one's own eraser."""

from excise.attacks.attack import register

from .attack import P4D

register("p4d", P4D)
