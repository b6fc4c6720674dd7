"""Erased Stable Diffusion (Gandikota et al. 2023)."""

from excise.erasers.registry import register

register("esd", "excise.erasers.esd.method:ESD")
