"""Fine-tuning an erased model, as its users do without a thought of the concept. For testing one's own eraser."""

from excise.attacks.attack import register

from .attack import Finetuning

register("finetuning", Finetuning)
