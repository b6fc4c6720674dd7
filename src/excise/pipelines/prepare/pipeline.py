"""concept -> prompts."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from excise.pipelines.names import bind
from excise.pipelines.selection import selected_concept

from .nodes import find_concept, identify_model, make_prompts


def create_pipeline(concept: str | None = None, home: str | None = None, **_) -> Pipeline:
    """Args:
    home: what the names of data sets begin with; the concept's name unless given.
    """
    c = concept or selected_concept("nsfw")
    home = home or c
    return Pipeline(
        [
            Node(bind(find_concept, name=c), "concepts", f"{home}.concept", name="find_concept", namespace=home),
            Node(identify_model, "params:model", f"{home}.model", name="identify_model", namespace=home),
            Node(
                make_prompts,
                [f"{home}.concept", "params:prompts", "params:seed"],
                [f"{home}.prompts", f"{home}.prompt_counts"],
                name="make_prompts",
                namespace=home,
            ),
        ]
    )
