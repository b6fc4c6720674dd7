"""Other words for the same thing, tried one after the other. For testing one's own eraser."""

from excise.attacks.attack import register

from .attack import Synonyms

register("synonyms", Synonyms)
