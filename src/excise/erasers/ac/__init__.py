"""Concept Ablation (Kumari et al. 2023)."""

from excise.erasers.registry import register

register("ac", "excise.erasers.ac.method:ConceptAblation")
