"""Unified Concept Editing (Gandikota et al. 2024)."""

from excise.erasers.registry import register

register("uce", "excise.erasers.uce.method:UCE", grouped=False)
