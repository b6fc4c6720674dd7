"""Prompt tables: build, load, filter, split."""

from .build import PromptOptions, build_prompts
from .load import load_prompt_table
from .safety import drop_minor_rows, names_minor
from .sets import load_set, prompt_sets

__all__ = [
    "PromptOptions",
    "build_prompts",
    "drop_minor_rows",
    "load_prompt_table",
    "load_set",
    "names_minor",
    "prompt_sets",
]
