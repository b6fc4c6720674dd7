"""cells -> rows -> page and figure."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from .nodes import collect, draw_results, run_cells, write_results

S = "study"


def create_pipeline(**_) -> Pipeline:
    def node(function, inputs, outputs):
        return Node(function, inputs, outputs, name=function.__name__, namespace=S)

    parameters = [f"params:{n}" for n in ("model", "erasers", "attacks", "prune", "neurons", "seed")]
    return Pipeline(
        [
            node(
                run_cells,
                ["params:study", "concepts", *parameters, "cache", "run_info", f"{S}.committed"],
                [f"{S}.cells", f"{S}.order", f"{S}.budgets"],
            ),
            node(collect, [f"{S}.cells", f"{S}.order"], f"{S}.rows"),
            node(
                write_results,
                [
                    f"{S}.rows",
                    "params:study",
                    "params:model",
                    "run_info",
                    f"{S}.benchmark",
                    f"{S}.strongest",
                    f"{S}.budgets",
                ],
                f"{S}.page",
            ),
            node(draw_results, f"{S}.rows", f"{S}.figure"),
        ]
    )
