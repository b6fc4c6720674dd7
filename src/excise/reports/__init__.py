"""Figures, contact sheets and the HTML report: pure functions of measurements and images."""

from .figures import rates_figure, reactivation_figure, thresholds_figure
from .masking import for_people, mask_words, previewed, veil
from .page import Context, html_report
from .sheets import contact_sheet, pixelate

__all__ = [
    "Context",
    "contact_sheet",
    "for_people",
    "html_report",
    "mask_words",
    "pixelate",
    "previewed",
    "rates_figure",
    "reactivation_figure",
    "thresholds_figure",
    "veil",
]
