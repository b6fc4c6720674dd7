"""The whole job for one concept: all stages, one after the other."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from . import erase, evaluate, prepare, report


def create_job(concept: str, method: str | None = None, attack: str | None = None) -> Pipeline:
    """prepare -> erase -> evaluate -> report.

    Args:
        concept: a concept's name; the namespace of everything.
        method: the eraser X; None for the one that is selected.
        attack: the attack on X (fit prompts) and on every eraser (test prompts); None for the one that is selected.
    """
    stages = (prepare, erase, evaluate, report)
    return sum((stage.create_pipeline(concept=concept, method=method, attack=attack) for stage in stages), Pipeline([]))
