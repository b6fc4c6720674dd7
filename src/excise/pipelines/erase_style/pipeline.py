"""The whole job for a concept of the kind `style`: prompts, erasers, attacks, judgements, report."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from excise.pipelines.job import create_job
from excise.pipelines.selection import selected_concept


def create_pipeline(**_) -> Pipeline:
    return create_job(selected_concept("style"))
