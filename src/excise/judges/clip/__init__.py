"""Zero-shot classification by a CLIP model."""

from excise.judges.clip.clip import ClipZeroShot
from excise.judges.judge import register

register("clip_zero_shot", ClipZeroShot)

__all__ = ["ClipZeroShot"]
