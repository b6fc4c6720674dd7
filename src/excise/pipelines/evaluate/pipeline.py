"""attack -> images -> judgements, the same for the base model, X, X+ and P-X, and for what others made."""

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
    locate_neurons,
    measure_reactivation,
    measure_reference,
)
from .typed import draw_typed, judge_typed


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
    cells = (
        plain_cell(c, f"{c}.{eraser}") + attack_cell(c, f"{c}.{eraser}", attack) + _neurons(c, eraser, x_name, attack)
        for eraser in ("none", *variants(x_name).values())
    )
    found = [_located(c, eraser) for eraser in variants(x_name).values()]
    return sum(cells, Pipeline([reference, *found]))


def plain_cell(home: str, e: str) -> Pipeline:
    """A model that is asked as it is.

    Args:
        home: what the names of concept, model and prompts begin with.
        e: what the names of the eraser and of all that is made here begin with.
    """
    concept, images, at = f"{home}.concept", f"{e}.{PLAIN}.images", f"{e}.{PLAIN}"
    return Pipeline(
        [
            _node(draw_plain, [concept, *_worn(home, e), "params:draw", "cache"], images, at),
            _node(judge_concept, [concept, images, "cache"], f"{at}.judgements", at),
            _node(judge_retain, [concept, images, "cache"], f"{at}.retain_judgements", at),
        ]
    )


def attack_cell(home: str, e: str, attack: str) -> Pipeline:
    """A model under an attack; arguments as in ``plain_cell``."""
    concept, worn, at = f"{home}.concept", _worn(home, e), f"{e}.{attack}"
    asked, options = f"{home}.trajectories", f"params:attacks.{attack}"
    return Pipeline(
        [
            _node(
                attack_test_prompts,
                [concept, *worn, asked, options, "params:draw", "cache"],
                f"{at}.adversarial",
                at,
            ),
            _node(draw_attacked, [concept, *worn, f"{at}.adversarial", "params:draw", "cache"], f"{at}.images", at),
            _node(judge_concept, [concept, f"{at}.images", "cache"], f"{at}.judgements", at),
            _node(draw_typed, [concept, *worn, f"{at}.adversarial", "params:draw", "cache"], f"{at}.typed_images", at),
            _node(judge_typed, [concept, f"{at}.typed_images", "cache"], f"{at}.typed_judgements", at),
        ]
    )


def _neurons(c: str, eraser: str, x_name: str, attack: str) -> Pipeline:
    """Neurons are ranked by what the attack on X wakes."""
    e = f"{c}.{eraser}"
    node = Node(
        measure_reactivation,
        [
            *_worn(c, e),
            f"{e}.{attack}.adversarial",
            f"{c}.trajectories",
            f"{c}.{x_name}.sensitivity",
            f"{c}.reference_activations",
            "params:neurons",
            "params:prune",
            f"params:attacks.{attack}",
        ],
        f"{e}.{attack}.neurons",
        name=f"measure_reactivation_{eraser}",
        namespace=c,  # it reads X's ranking: inside the eraser's own box it would tie a knot
    )
    return Pipeline([node])


def _located(c: str, eraser: str) -> Node:
    """Where the concept's neurons are by now."""
    measured = [f"{c}.trajectories", f"{c}.reference_activations", "params:neurons", "params:prune"]
    return Node(
        locate_neurons,
        [*_worn(c, f"{c}.{eraser}"), *measured],
        f"{c}.{eraser}.located",
        name=f"locate_neurons_{eraser}",
        namespace=c,
    )


def _worn(home: str, e: str) -> list[str]:
    return [f"{home}.model", f"{e}.eraser", f"{home}.prompts"]


def _node(function, inputs, outputs, namespace) -> Node:
    tags = SHARDED[function.__name__.partition("_")[0]]
    return Node(function, inputs, outputs, name=function.__name__, namespace=namespace, tags=tags)
