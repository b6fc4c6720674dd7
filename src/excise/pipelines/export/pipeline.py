"""A finished run's eraser and its figures -> files for other programs, and a model card."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from excise.pipelines.names import exported
from excise.pipelines.selection import selected_concept, selected_eraser

from .nodes import export_eraser


def create_pipeline(concept: str | None = None, method: str | None = None, **_) -> Pipeline:
    c = concept or selected_concept("nsfw")
    e = f"{c}.{exported(method or selected_eraser())}"
    inputs = [f"{c}.concept", f"{c}.model", f"{e}.eraser", f"{c}.metrics", "params:export", "cache"]
    outputs = [f"{e}.export", f"{e}.exported"]
    return Pipeline([Node(export_eraser, inputs, outputs, name="export_eraser", namespace=c)])
