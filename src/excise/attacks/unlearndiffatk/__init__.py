"""UnlearnDiffAtk (Zhang et al. 2024): a white-box token attack. For testing one's own eraser."""

from excise.attacks.attack import register

from .attack import UnlearnDiffAtk

register("unlearndiffatk", UnlearnDiffAtk)
