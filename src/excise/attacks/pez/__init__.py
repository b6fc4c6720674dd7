"""Hard prompts by projection (Wen et al. 2023) against an erased model. For testing one's own eraser."""

from excise.attacks.attack import register

from .attack import PEZ

register("pez", PEZ)
