"""NudeNet: a detector of faces and body parts, exposed or covered."""

from excise.judges.judge import register
from excise.judges.nudenet.nudenet import BROAD, FACES, STRICT, NudeNet

register("nudenet", NudeNet)

__all__ = ["BROAD", "FACES", "STRICT", "NudeNet"]
