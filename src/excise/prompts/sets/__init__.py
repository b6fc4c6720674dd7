"""Published prompt sets: where they are, what columns they have, and how they are read and counted."""

from .known import PromptSet, prompt_sets
from .load import Account, check_source, load_set
from .share import same_wording, share_out

__all__ = ["Account", "PromptSet", "check_source", "load_set", "prompt_sets", "same_wording", "share_out"]
