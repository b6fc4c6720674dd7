"""Rows with words for minors are dropped from every prompt table, always. No option turns this off."""

from .minors import drop_minor_rows, names_minor, word_list

__all__ = ["drop_minor_rows", "names_minor", "word_list"]
