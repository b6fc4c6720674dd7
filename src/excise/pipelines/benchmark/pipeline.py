"""cells -> rows -> leaderboard."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from excise.pipelines.study_pruning.nodes import collect

from .nodes import draw_curves, draw_efforts, run_benchmark, write_leaderboard, write_summary

B = "benchmark"


def create_pipeline(**_) -> Pipeline:
    def node(function, inputs, outputs):
        return Node(function, inputs, outputs, name=function.__name__, namespace=B)

    parameters = [f"params:{n}" for n in ("model", "erasers", "attacks", "prune", "neurons", "seed")]
    return Pipeline(
        [
            node(
                run_benchmark,
                [f"params:{B}", "concepts", *parameters, "cache", "run_info", f"{B}.committed"],
                [f"{B}.cells", f"{B}.order", f"{B}.budgets"],
            ),
            node(collect, [f"{B}.cells", f"{B}.order"], f"{B}.rows"),
            node(write_leaderboard, [f"{B}.rows", f"params:{B}", "params:model", "run_info"], f"{B}.leaderboard"),
            node(
                write_summary,
                [f"{B}.rows", f"params:{B}", "params:model", "run_info", f"{B}.budgets"],
                f"{B}.page",
            ),
            node(draw_curves, f"{B}.rows", f"{B}.curves"),
            node(draw_efforts, f"{B}.rows", f"{B}.efforts"),
        ]
    )
