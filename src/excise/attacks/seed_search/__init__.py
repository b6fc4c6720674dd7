"""The same prompt on other seeds: the control of every attack."""

from excise.attacks.attack import register

from .attack import SeedSearch

register("seed_search", SeedSearch)
