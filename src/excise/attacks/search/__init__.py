"""What searching attacks share: the case, the search, its budget, and the run over batches of prompts."""

from .case import Candidate, Case, Knowledge
from .search import Search, SearchAttack

__all__ = ["Candidate", "Case", "Knowledge", "Search", "SearchAttack"]
