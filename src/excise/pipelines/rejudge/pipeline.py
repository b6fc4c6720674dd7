"""stored pictures -> another judge -> table."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from excise.pipelines.names import PLAIN, variants
from excise.pipelines.selection import selected_attack, selected_concept, selected_eraser

from .nodes import draw_thresholds, print_rejudged, rejudge_images, sweep_thresholds


def create_pipeline(concept: str | None = None, method: str | None = None, attack: str | None = None, **_) -> Pipeline:
    c, x_name = concept or selected_concept("nsfw"), method or selected_eraser()
    attacks = [attack or selected_attack()]
    return second_opinion(c, {e: (f"{c}.{e}", attacks) for e in ("none", *variants(x_name).values())})


def second_opinion(home: str, models: dict[str, tuple[str, list[str]]]) -> Pipeline:
    """Another judge on all that was drawn.

    Args:
        home: what the names of concept and prompts begin with.
        models: eraser -> what the names of its pictures begin with, and the attacks on it.
    """
    cells = {}
    for eraser, (at, attacks) in models.items():
        for attack in (PLAIN, *attacks):
            wanted = ("images", "judgements", *([] if attack == PLAIN else ["adversarial"]))
            cells |= {f"{eraser}__{attack}__{what}": f"{at}.{attack}.{what}" for what in wanted}
    known = {"concept": f"{home}.concept", "rejudge": "params:rejudge"}
    asked = {"concept": f"{home}.concept", "prompts": f"{home}.prompts"}
    stored = {key: name for key, name in cells.items() if not key.endswith("images")}
    steps = [
        (sweep_thresholds, {**asked, **stored}, "thresholds"),
        (draw_thresholds, [f"{home}.concept", f"{home}.thresholds"], "threshold_curve"),
        (rejudge_images, {**known, "prompts": f"{home}.prompts", **cells}, "rejudged"),
        (print_rejudged, {**known, "table": f"{home}.rejudged"}, "second_opinion"),
    ]
    return Pipeline([Node(f, inputs, f"{home}.{out}", name=f.__name__, namespace=home) for f, inputs, out in steps])
