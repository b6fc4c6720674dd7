"""captions -> images -> judges -> table."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from .nodes import ask_for_everything, draw_everything, judge_everything, print_table, show_samples

E = "emoji64"


def create_pipeline(**_) -> Pipeline:
    def node(function, inputs, output):
        return Node(function, inputs, output, name=function.__name__, namespace=E)

    captions, pictures = f"{E}.captions", f"{E}.pictures"
    return Pipeline(
        [
            node(ask_for_everything, ["params:world", "params:seed"], captions),
            node(draw_everything, ["params:model", captions, "params:evaluation", "cache"], pictures),
            node(judge_everything, [captions, pictures], f"{E}.evaluation"),
            node(show_samples, [captions, pictures], f"{E}.sheet"),
            node(print_table, f"{E}.evaluation", f"{E}.holds"),
        ]
    )
