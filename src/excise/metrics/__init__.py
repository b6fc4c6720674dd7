"""Rates with intervals, paired comparisons, what the erasing cost in everything else, and ``metrics.json``."""

from .paired import Paired, paired_difference
from .rates import Rate, prompt_verdicts, rate_of
from .summary import Detector, Metrics, Survival, summarise
from .utility import Distance, Mean, clip_score, frechet_distance, retain_rate

__all__ = [
    "Detector",
    "Distance",
    "Mean",
    "Metrics",
    "Paired",
    "Rate",
    "Survival",
    "clip_score",
    "frechet_distance",
    "paired_difference",
    "prompt_verdicts",
    "rate_of",
    "retain_rate",
    "summarise",
]
