"""stored pictures -> another judge -> table."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from excise.pipelines.names import PLAIN, variants
from excise.pipelines.selection import selected_attack, selected_concept, selected_eraser

from .nodes import draw_thresholds, print_rejudged, rejudge_images, sweep_thresholds


def create_pipeline(concept: str | None = None, method: str | None = None, attack: str | None = None, **_) -> Pipeline:
    c, x_name = concept or selected_concept("nsfw"), method or selected_eraser()
    attack = attack or selected_attack()
    cells = {}
    for eraser in ("none", *variants(x_name).values()):
        for a in (PLAIN, attack):
            wanted = ("images", "judgements", *(["adversarial"] if a == attack else []))
            cells |= {f"{eraser}__{a}__{what}": f"{c}.{eraser}.{a}.{what}" for what in wanted}
    known = {"concept": f"{c}.concept", "rejudge": "params:rejudge"}
    stored = {key: name for key, name in cells.items() if not key.endswith("images")}
    return Pipeline(
        [
            Node(
                sweep_thresholds,
                {"concept": f"{c}.concept", "prompts": f"{c}.prompts", **stored},
                f"{c}.thresholds",
                name="sweep_thresholds",
                namespace=c,
            ),
            Node(
                draw_thresholds,
                [f"{c}.concept", f"{c}.thresholds"],
                f"{c}.threshold_curve",
                name="draw_thresholds",
                namespace=c,
            ),
            Node(
                rejudge_images,
                {**known, "prompts": f"{c}.prompts", **cells},
                f"{c}.rejudged",
                name="rejudge_images",
                namespace=c,
            ),
            Node(
                print_rejudged,
                {**known, "table": f"{c}.rejudged"},
                f"{c}.second_opinion",
                name="print_rejudged",
                namespace=c,
            ),
        ]
    )
