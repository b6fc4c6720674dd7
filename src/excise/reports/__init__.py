"""Figures, contact sheets and the HTML report: pure functions of measurements and images."""

from .figures import rates_figure, reactivation_figure, thresholds_figure
from .page import Context, html_report
from .sheets import contact_sheet, pixelate

__all__ = [
    "Context",
    "contact_sheet",
    "html_report",
    "pixelate",
    "rates_figure",
    "reactivation_figure",
    "thresholds_figure",
]
