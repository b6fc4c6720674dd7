"""concept -> prompts."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from excise.pipelines.names import bind
from excise.pipelines.selection import selected_concept

from .nodes import find_concept, identify_model, make_prompts


def create_pipeline(concept: str | None = None, **_) -> Pipeline:
    c = concept or selected_concept("nsfw")
    return Pipeline(
        [
            Node(bind(find_concept, name=c), "concepts", f"{c}.concept", name="find_concept", namespace=c),
            Node(identify_model, "params:model", f"{c}.model", name="identify_model", namespace=c),
            Node(
                make_prompts,
                [f"{c}.concept", "params:prompts", "params:seed"],
                [f"{c}.prompts", f"{c}.prompt_counts"],
                name="make_prompts",
                namespace=c,
            ),
        ]
    )
