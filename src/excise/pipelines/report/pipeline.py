"""judgements -> metrics -> figures -> report."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from excise.pipelines.names import PLAIN, variants
from excise.pipelines.selection import selected_attack, selected_concept, selected_eraser

from .nodes import (
    check_judge,
    draw_contact_sheet,
    draw_rates,
    draw_reactivation,
    measure_fidelity,
    summarise_run,
    write_report,
)


def create_pipeline(concept: str | None = None, method: str | None = None, attack: str | None = None, **_) -> Pipeline:
    c, x_name = concept or selected_concept("nsfw"), method or selected_eraser()
    attack = attack or selected_attack()
    erasers = ["none", *variants(x_name).values()]

    def cells(*whats: tuple[str, tuple[str, ...]]) -> dict[str, str]:
        """Keyword -> data set, for (what, attacks) of every eraser."""
        return {f"{e}__{a}__{what}": f"{c}.{e}.{a}.{what}" for e in erasers for what, attacks in whats for a in attacks}

    both = (PLAIN, attack)
    judged = cells(("judgements", both))
    known = {"concept": f"{c}.concept", "prompts": f"{c}.prompts"}
    neurons = cells(("neurons", (attack,)))
    return Pipeline(
        [
            Node(
                measure_fidelity,
                {**known, "fidelity": "params:fidelity", **cells(("images", (PLAIN,)))},
                f"{c}.fidelity",
                name="measure_fidelity",
                namespace=c,
            ),
            Node(
                check_judge,
                [f"{c}.concept", "params:known_pictures", "cache"],
                f"{c}.judge_errors",
                name="check_judge",
                namespace=c,
            ),
            Node(
                summarise_run,
                {
                    **known,
                    "model": f"{c}.model",
                    "prompt_counts": f"{c}.prompt_counts",
                    "budget": "params:budget",
                    "seed": "params:seed",
                    "draw": "params:draw",
                    "run_info": "run_info",
                    "cost": "cost",
                    "fidelity": f"{c}.fidelity",
                    "judge_errors": f"{c}.judge_errors",
                    **judged,
                    **cells(("retain_judgements", (PLAIN,)), ("adversarial", (attack,))),
                    **neurons,
                    **{f"{e}__eraser": f"{c}.{e}.eraser" for e in erasers},
                },
                f"{c}.metrics",
                name="summarise_run",
                namespace=c,
            ),
            Node(
                draw_contact_sheet,
                {**known, **judged, **cells(("images", both))},
                f"{c}.contact_sheet",
                name="draw_contact_sheet",
                namespace=c,
            ),
            Node(draw_reactivation, neurons, f"{c}.reactivation", name="draw_reactivation", namespace=c),
            Node(draw_rates, f"{c}.metrics", f"{c}.rates", name="draw_rates", namespace=c),
            Node(
                write_report,
                {
                    **known,
                    "prompt_counts": f"{c}.prompt_counts",
                    "metrics": f"{c}.metrics",
                    "contact_sheet": f"{c}.contact_sheet",
                    "rates": f"{c}.rates",
                    "reactivation": f"{c}.reactivation",
                    "draw": "params:draw",
                    "attacks": "params:attacks",
                    "run_info": "run_info",
                },
                f"{c}.report",
                name="write_report",
                namespace=c,
            ),
        ]
    )
