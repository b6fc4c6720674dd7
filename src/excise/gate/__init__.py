"""The gate between a finished run and the champion: thresholds, checks, and who may take over."""

from .checks import Check, Gate, judge
from .options import GateOptions, refuse_impossible
from .page import gate_page
from .takeover import Registry, may_take_over

__all__ = ["Check", "Gate", "GateOptions", "Registry", "gate_page", "judge", "may_take_over", "refuse_impossible"]
