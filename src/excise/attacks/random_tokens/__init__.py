"""Random tokens before the prompt: the control of every attack on text."""

from excise.attacks.attack import register

from .attack import RandomTokens

register("random_tokens", RandomTokens)
