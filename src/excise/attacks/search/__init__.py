"""What searching attacks share: the case, the search, its budget, and the run over batches of prompts."""

from .case import Candidate, Case, Knowledge
from .search import NO_BASE, Search, SearchAttack

__all__ = ["NO_BASE", "Candidate", "Case", "Knowledge", "Search", "SearchAttack"]
