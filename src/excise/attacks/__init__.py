"""Attacks, one folder a method. They exist to test one's own eraser before it ships, and for nothing else."""

from . import (  # noqa: F401
    finetuning,
    gcg,
    img2img,
    merging,
    p4d,
    pez,
    quantising,
    random_tokens,
    revival,
    ring_a_bell,
    seed_search,
    synonyms,
    textual_inversion,
    tina,
    unlearndiffatk,
)
from .attack import ATTACKS, AttackOptions, ThreatModel, by_words, make_attack, register, total

__all__ = ["ATTACKS", "AttackOptions", "ThreatModel", "by_words", "make_attack", "register", "total"]
