"""Concepts: what to erase, and what must survive."""

from .concept import Concept, JudgeSpec, PromptSource, PromptWords, load_concept

__all__ = ["Concept", "JudgeSpec", "PromptSource", "PromptWords", "load_concept"]
