"""Filling what was pruned, from the places of the zeros alone. For testing one's own eraser."""

from excise.attacks.attack import register

from .attack import Revival

register("revival", Revival)
