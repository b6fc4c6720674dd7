"""A causal check: a concept's neurons held at what they are on neutral prompts, and as many others."""

from .carriers import carriers, concept_signal, others
from .hold import held
from .loud import loudest

__all__ = ["carriers", "concept_signal", "held", "loudest", "others"]
