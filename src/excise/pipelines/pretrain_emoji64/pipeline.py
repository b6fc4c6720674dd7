"""art -> renders -> tokenizer, CLIP, autoencoder -> U-Net -> export, probes and samples."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from .nodes import (
    draw_samples,
    export_emoji64,
    fetch_art,
    fit_probes,
    learn_tokenizer,
    paint_known_pictures,
    render_art,
    train_small_autoencoder,
    train_small_clip,
    train_small_denoiser,
)

W, E = "params:world", "pretrain"


def create_pipeline(**_) -> Pipeline:
    d = {
        n: f"{E}.{n}"
        for n in ("archives", "renders", "tokenizer", "clip", "autoencoder", "denoiser", "sizes", "accuracies")
    }

    def node(function, inputs, outputs):
        return Node(function, inputs, outputs, name=function.__name__, namespace=E)

    return Pipeline(
        [
            node(fetch_art, [W, "cache"], d["archives"]),
            node(render_art, [W, d["archives"], "cache"], d["renders"]),
            node(learn_tokenizer, [W, "cache"], d["tokenizer"]),
            node(
                train_small_autoencoder,
                [W, d["renders"], "params:autoencoder", "cache"],
                [d["autoencoder"], f"{E}.autoencoder_losses", f"{E}.reconstructions"],
            ),
            node(
                train_small_clip,
                [W, d["renders"], d["tokenizer"], "params:clip", "cache"],
                [d["clip"], f"{E}.clip_losses"],
            ),
            node(
                train_small_denoiser,
                [W, d["renders"], d["tokenizer"], d["clip"], d["autoencoder"], "params:denoiser", "cache"],
                [d["denoiser"], f"{E}.denoiser_losses"],
            ),
            node(
                export_emoji64,
                [d["tokenizer"], d["clip"], d["autoencoder"], d["denoiser"], "params:export_to"],
                d["sizes"],
            ),
            node(fit_probes, [W, d["renders"], d["autoencoder"], "params:export_to"], d["accuracies"]),
            node(
                paint_known_pictures,
                [W, d["renders"], d["archives"], "params:known", "params:seed", "params:export_to"],
                f"{E}.known",
            ),
            node(draw_samples, [W, d["denoiser"], d["sizes"], "params:export_to"], f"{E}.samples"),
        ]
    )
