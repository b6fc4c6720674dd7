"""variations of the mask -> rows on the tune split -> page, and the one within the utility budget that robs most."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from .nodes import choose, collect, run_variations, write_ablations

A = "ablation"


def create_pipeline(**_) -> Pipeline:
    def node(function, inputs, outputs):
        return Node(function, inputs, outputs, name=function.__name__, namespace=A)

    parameters = [f"params:{n}" for n in ("model", "erasers", "attacks", "prune", "neurons", "seed")]
    return Pipeline(
        [
            node(
                run_variations,
                ["params:ablation", "concepts", *parameters, "cache", "run_info", f"{A}.committed"],
                [f"{A}.cells", f"{A}.order"],
            ),
            node(collect, [f"{A}.cells", f"{A}.order"], f"{A}.rows"),
            node(choose, [f"{A}.rows", "params:ablation"], f"{A}.chosen"),
            node(
                write_ablations, [f"{A}.rows", f"{A}.chosen", f"{A}.order", "params:ablation", "run_info"], f"{A}.page"
            ),
        ]
    )
