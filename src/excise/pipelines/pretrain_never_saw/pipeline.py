"""art -> renders -> U-Net -> export and samples."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from .nodes import draw_gaps, export_unet, fetch_shown_art, render_shown_art, train_without

N = "never_saw"
GIVEN = ["params:world", "params:never_saw"]


def create_pipeline(**_) -> Pipeline:
    def node(function, inputs, outputs):
        return Node(function, inputs, outputs, name=function.__name__, namespace=N)

    return Pipeline(
        [
            node(fetch_shown_art, [*GIVEN, "cache"], f"{N}.archives"),
            node(render_shown_art, [*GIVEN, f"{N}.archives", "cache"], f"{N}.renders"),
            node(
                train_without,
                [*GIVEN, f"{N}.renders", "params:denoiser", "cache"],
                [f"{N}.denoiser", f"{N}.denoiser_losses"],
            ),
            node(export_unet, [f"{N}.denoiser", "params:never_saw"], f"{N}.sizes"),
            node(draw_gaps, [*GIVEN, f"{N}.sizes"], f"{N}.samples"),
        ]
    )
