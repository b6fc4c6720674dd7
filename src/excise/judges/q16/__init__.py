"""Q16: is an image inappropriate? Two learned prompts in CLIP's space."""

from excise.judges.judge import register

from .q16 import Q16

register("q16", Q16)
