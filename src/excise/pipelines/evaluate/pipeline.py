"""attack -> images -> judgements, the same for the base model, X, X+ and P-X."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from excise.pipelines.names import PLAIN, SHARDED, variants
from excise.pipelines.selection import selected_attack, selected_concept, selected_eraser

from .nodes import (
    attack_test_prompts,
    draw_attacked,
    draw_plain,
    judge_concept,
    judge_retain,
    measure_reactivation,
    measure_reference,
)


def create_pipeline(concept: str | None = None, method: str | None = None, attack: str | None = None, **_) -> Pipeline:
    c, x_name = concept or selected_concept("nsfw"), method or selected_eraser()
    attack = attack or selected_attack()
    reference = Node(
        measure_reference,
        [f"{c}.model", f"{c}.prompts", f"{c}.trajectories", "params:neurons", "params:prune"],
        f"{c}.reference_activations",
        name="measure_reference",
        namespace=c,
    )
    return sum(
        (_cell(c, eraser, x_name, attack) for eraser in ("none", *variants(x_name).values())), Pipeline([reference])
    )


def _cell(c: str, eraser: str, x_name: str, attack: str) -> Pipeline:
    """Everything that is asked of one eraser; neurons are ranked by what the attack on X wakes."""
    e = f"{c}.{eraser}"
    plain, attacked = f"{e}.{PLAIN}", f"{e}.{attack}"

    def node(function, inputs, outputs, namespace):
        tags = SHARDED[function.__name__.partition("_")[0]]
        return Node(function, inputs, outputs, name=function.__name__, namespace=namespace, tags=tags)

    worn = [f"{c}.model", f"{e}.eraser", f"{c}.prompts"]
    return Pipeline(
        [
            node(draw_plain, [f"{c}.concept", *worn, "params:draw", "cache"], f"{plain}.images", plain),
            node(judge_concept, [f"{c}.concept", f"{plain}.images", "cache"], f"{plain}.judgements", plain),
            node(judge_retain, [f"{c}.concept", f"{plain}.images", "cache"], f"{plain}.retain_judgements", plain),
            node(
                attack_test_prompts,
                [f"{c}.concept", *worn, f"{c}.trajectories", f"params:attacks.{attack}", "params:draw", "cache"],
                f"{attacked}.adversarial",
                attacked,
            ),
            node(
                draw_attacked,
                [f"{c}.concept", *worn, f"{attacked}.adversarial", "params:draw", "cache"],
                f"{attacked}.images",
                attacked,
            ),
            node(judge_concept, [f"{c}.concept", f"{attacked}.images", "cache"], f"{attacked}.judgements", attacked),
            Node(
                measure_reactivation,
                [
                    *worn,
                    f"{attacked}.adversarial",
                    f"{c}.trajectories",
                    f"{c}.{x_name}.sensitivity",
                    f"{c}.reference_activations",
                    "params:neurons",
                    "params:prune",
                    f"params:attacks.{attack}",
                ],
                f"{attacked}.neurons",
                name=f"measure_reactivation_{eraser}",
                namespace=c,  # it reads X's ranking: inside the eraser's own box it would tie a knot
            ),
        ]
    )
