"""Does a concept sit in its neurons? cells -> rows -> page and figure."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from .nodes import collect, draw_silencing, silence_neurons, write_silencing

S = "silencing"


def create_pipeline(**_) -> Pipeline:
    def node(function, inputs, outputs):
        return Node(function, inputs, outputs, name=function.__name__, namespace=S)

    return Pipeline(
        [
            node(
                silence_neurons,
                [f"params:{S}", "concepts", "params:model", "params:seed", "cache", "run_info", f"{S}.committed"],
                [f"{S}.cells", f"{S}.order"],
            ),
            node(collect, [f"{S}.cells", f"{S}.order"], f"{S}.rows"),
            node(write_silencing, [f"{S}.rows", f"params:{S}", "params:model", "run_info"], f"{S}.page"),
            node(draw_silencing, f"{S}.rows", f"{S}.figure"),
        ]
    )
