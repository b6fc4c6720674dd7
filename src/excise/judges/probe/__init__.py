"""Linear probes on EfficientNet-Lite0 features: which thing, and in which style."""

from excise.judges.judge import register
from excise.judges.probe.judge import ObjectProbe, StyleProbe

register("object_probe", ObjectProbe)
register("style_probe", StyleProbe)

__all__ = ["ObjectProbe", "StyleProbe"]
