"""What this package brings. An eraser is named by where it is, so that registering imports no torch."""

from excise import attacks, erasers, judges

from .attack import Repetition
from .judge import Brightness

erasers.register("projection", "excise_example.eraser:Projection", grouped=False)
attacks.register("repetition", Repetition)
judges.register("brightness", Brightness)
