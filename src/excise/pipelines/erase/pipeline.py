"""prompts -> X -> attack on fit prompts -> neurons -> mask scores -> P-X, with its controls beside it."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from excise.pipelines.names import SHARDED, bind, learning_attack, variants
from excise.pipelines.selection import selected_attack, selected_concept, selected_eraser

from .nodes import (
    attack_eraser,
    measure_attacked,
    measure_concept,
    no_eraser,
    prune_at_random,
    prune_by_score,
    rank_neurons,
    sample_trajectories,
    score_masks,
    train_learned,
    train_plus,
    train_unpruned,
)


def create_pipeline(concept: str | None = None, method: str | None = None, attack: str | None = None, **_) -> Pipeline:
    c, name = concept or selected_concept("nsfw"), method or selected_eraser()
    attack = attack or selected_attack()
    names, options = variants(name), f"params:erasers.{name}"
    x = f"{c}.{names['unpruned']}"
    given = [f"{c}.concept", f"{c}.model", f"{c}.trajectories"]
    made = ["params:seed", "cache", "run_info"]
    fit = f"{x}.fit.adversarial"

    def node(function, inputs, outputs, namespace, tags=()):
        return Node(function, inputs, outputs, name=function.__name__, namespace=namespace, tags=tags)

    unpruned = Pipeline(
        [
            node(sample_trajectories, [f"{c}.model", f"{c}.prompts", options, "cache"], f"{c}.trajectories", c),
            node(no_eraser, [f"{c}.concept", f"{c}.model", "run_info"], f"{c}.none.eraser", f"{c}.none"),
            node(train_unpruned, [*given, options, *made], [f"{x}.eraser", f"{x}.losses"], x),
            node(
                bind(attack_eraser, split="fit"),
                {
                    **{"model": f"{c}.model", "eraser": f"{x}.eraser", "prompts": f"{c}.prompts"},
                    **{"trajectories": f"{c}.trajectories", "attack": f"params:attacks.{learning_attack(attack)}"},
                    "cache": "cache",
                    **{"concept": f"{c}.concept", "draw": "params:draw"},
                },
                fit,
                f"{x}.fit",
                SHARDED["attack"],
            ),
            node(
                measure_concept,
                [f"{c}.model", f"{c}.prompts", f"{c}.trajectories", "params:neurons", "params:prune"],
                f"{c}.activations",
                c,
            ),
            node(
                measure_attacked,
                [f"{c}.model", f"{x}.eraser", fit, f"{c}.trajectories", "params:neurons", "params:prune"],
                f"{x}.attacked_activations",
                x,
            ),
            node(
                rank_neurons,
                [f"{c}.model", f"{c}.activations", f"{x}.attacked_activations", "params:neurons", "params:prune"],
                f"{x}.sensitivity",
                x,
            ),
        ]
    )
    if "learned" not in names:  # the method is a mask already
        return unpruned
    plus, p = f"{c}.{names['plus']}", f"{c}.{names['learned']}"
    pruned = Pipeline(
        [
            node(
                score_masks,
                [
                    f"{c}.model",
                    f"{c}.prompts",
                    f"{c}.trajectories",
                    f"{x}.sensitivity",
                    "params:neurons",
                    "params:prune",
                ],
                f"{x}.mask_scores",
                x,
            ),
            node(
                train_learned,
                [*given, fit, f"{x}.sensitivity", f"{x}.mask_scores", options, "params:prune", *made],
                [f"{p}.eraser", f"{p}.mask", f"{p}.losses"],
                p,
            ),
            node(
                train_plus,
                [*given, fit, options, "params:prune", *made],
                [f"{plus}.eraser", f"{plus}.losses"],
                plus,
            ),
        ]
    )
    if "scored" not in names:
        return unpruned + pruned
    scored, random = f"{c}.{names['scored']}", f"{c}.{names['random']}"
    ranked, seeded = [*given, fit, f"{x}.sensitivity", f"{p}.eraser"], ["params:seed", "cache"]
    controls = Pipeline(
        [
            node(
                prune_by_score,
                [*ranked, f"{x}.mask_scores", options, "params:prune", *seeded],
                [f"{scored}.eraser", f"{scored}.mask"],
                scored,
            ),
            node(
                prune_at_random,
                [*ranked, options, "params:prune", *seeded],
                [f"{random}.eraser", f"{random}.mask"],
                random,
            ),
        ]
    )
    return unpruned + pruned + controls
