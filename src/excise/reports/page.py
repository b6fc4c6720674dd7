"""The report: one HTML file that needs nothing else and that a stranger understands."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from excise.metrics.several import holm_of_known

from . import words
from .findings import findings, headline, in_short
from .masking import for_people, mask_words
from .verdict import WORDS, reach, verdict

if TYPE_CHECKING:
    from jinja2 import Template


class Context(BaseModel):
    """What a report says beside the numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    erase: str = Field(description="the concept in words: 'a person'")
    anchor: str = Field(description="what a neutral twin says in its place; may be empty")
    images_per_prompt: int = Field(ge=1, description="judged images a prompt, on fresh seeds")
    command: str = Field(description="what was run, to be run again")
    files: dict[str, str] = Field({}, description="file -> what it is")
    example: str = Field("", description="one target prompt")
    twin: str = Field("", description="its neutral twin")
    unsafe: bool = False
    threats: list[dict[str, Any]] = Field(
        [], description="by what an attacker reaches: threat, and the attacks that were run and not_run"
    )
    notes: list[str] = Field([], description="further limits of this very run")
    located: list[dict[str, Any]] = Field([], description="where the concept's neurons are in each erased model")


PICTURES = ("contact_sheet", "rates", "reactivation")


def html_report(metrics: dict[str, Any], images: Mapping[str, Image.Image], context: Context) -> str:
    """Write the report.

    Args:
        metrics: the content of ``metrics.json``.
        images: any of ``contact_sheet``, ``rates`` and ``reactivation``.
        context: what was asked, and how to run it again.

    Explicit words are masked; of an unsafe concept's prompts only the beginnings are shown.

    Returns:
        HTML with all images inside, and neither scripts nor anything from outside.

    Raises:
        ValueError: for an image that the report has no place for.
    """
    unknown = set(images) - set(PICTURES)
    if unknown:
        raise ValueError(f"the report has no place for {', '.join(sorted(unknown))}; known are {', '.join(PICTURES)}")
    context = context.model_copy(
        update={
            "example": for_people(context.example, context.unsafe),
            "twin": for_people(context.twin, context.unsafe),
            "anchor": mask_words(context.anchor),
        }
    )
    audited = "audited" in metrics
    rates = [(e, a, rate) for e, one in metrics["erasers"].items() for a, rate in one["attacks"].items()]
    return _template().render(
        metrics=metrics,
        context=context,
        attacks=list(dict.fromkeys(attack for _, attack, _ in rates)),
        one_effort=sorted({attack for _, attack, rate in rates if rate.get("budget", {}).get("shared")}),
        blind=sorted({a for _, a, rate in rates if _is_blind(rate.get("budget"))}),
        spent=[(eraser, attack, rate["budget"]) for eraser, attack, rate in rates if "budget" in rate],
        in_short=in_short(metrics, [a for row in context.threats if row["threat"] in WORDS for a in row["run"]]),
        headline=verdict(metrics, context.threats) if audited else headline(metrics),
        reach=reach(metrics, context.threats) if audited else [],
        findings=findings(metrics),
        pictures={name: data_uri(image) for name, image in images.items()},
    )


def _is_blind(budget: dict[str, Any] | None) -> bool:
    """Whether an attack searched for words, prompt by prompt, and looked at no image on its way."""
    searched = budget is not None and budget["gradient_steps"] and not budget.get("shared")
    return bool(searched and budget.get("sampling_evaluations") == 0)


@cache
def _template() -> Template:
    """The page, compiled once a process."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = FileSystemLoader(Path(__file__).parent)
    page = Environment(loader=here, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters |= {
        "eraser": words.eraser_label,
        "attack": words.attack_label,
        "about_eraser": words.about_eraser,
        "about_attack": words.about_attack,
        "percent": words.percent,
        "span": words.span,
        "points": words.points,
        "p": words.spell_p,
        "of_judge": words.errors,
        "corrected": lambda pairs: holm_of_known([pair["p_value"] for pair in pairs]),
    }
    return page.get_template("report.html")


def data_uri(image: Image.Image) -> str:
    """A picture inside a page."""
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
