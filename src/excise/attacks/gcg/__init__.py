"""Greedy coordinate gradient on a text encoder (MMA-Diffusion, Yang et al. 2024). For testing one's own eraser."""

from excise.attacks.attack import register

from .attack import GCG, MMA

register("gcg", GCG)
register("mma", MMA)
