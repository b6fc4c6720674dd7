"""Erased Stable Diffusion (Gandikota et al. 2023)."""

from excise.erasers.registry import register

from .method import ESD

register("esd", ESD)
