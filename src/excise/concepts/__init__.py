"""Concepts: what to erase, and what must survive."""

from .concept import Concept, JudgeSpec, PromptWords, load_concept

__all__ = ["Concept", "JudgeSpec", "PromptWords", "load_concept"]
