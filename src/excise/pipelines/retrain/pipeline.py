"""The whole job for one concept, the gate, and the champion: what a schedule runs.

prepare -> erase -> evaluate -> report -> gate -> champion
"""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from excise.pipelines.job import create_job
from excise.pipelines.names import PLAIN, bind, exported
from excise.pipelines.selection import selected_attack, selected_concept, selected_eraser

from .nodes import find_champion, judge_run, promote


def create_pipeline(concept: str | None = None, method: str | None = None, attack: str | None = None, **_) -> Pipeline:
    c, x_name = concept or selected_concept("nsfw"), method or selected_eraser()
    attack = attack or selected_attack()
    shipped = f"{c}.{exported(x_name)}.eraser"
    judged = {
        "concept": f"{c}.concept",
        "metrics": f"{c}.metrics",
        "prompts": f"{c}.prompts",
        "eraser": shipped,
        "gate": "params:gate",
        "draw": "params:draw",
        "attack_options": f"params:attacks.{attack}",
        "champion": f"{c}.champion",
    }
    gate = [
        Node(find_champion, [f"{c}.metrics", "registry"], f"{c}.champion", name="find_champion", namespace=c),
        Node(
            bind(judge_run, asked=(PLAIN, attack)),
            judged,
            [f"{c}.gate", f"{c}.verdict"],
            name="judge_run",
            namespace=c,
        ),
        Node(
            promote,
            [f"{c}.gate", shipped, f"{c}.report", "registry"],
            f"{c}.promotion",
            name="promote",
            namespace=c,
        ),
    ]
    return create_job(c, x_name, attack) + Pipeline(gate)
