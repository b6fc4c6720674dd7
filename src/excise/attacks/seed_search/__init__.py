"""The same prompt on other seeds: how often a lucky seed would be believed."""

from excise.attacks.attack import register

from .attack import SeedSearch

register("seed_search", SeedSearch)
