"""A legend below all panels, as wide as the figure at most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend


def legend_below(figure: Figure, handles: Iterable[Artist], labels: Sequence[str], **style) -> Legend | None:
    """Put it into as few lines as fit; None where there is nothing to name.

    Args:
        figure: with a canvas of Agg and the constrained layout, which keeps the panels clear of it.
        style: of ``Figure.legend``.
    """
    handles, labels, legend = list(handles), list(labels), None
    for columns in range(len(labels), 0, -1):
        if legend is not None:
            legend.remove()
        legend = figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, **style)
        if legend.get_window_extent(figure.canvas.get_renderer()).width <= figure.bbox.width:
            break
    return legend
