"""judgements -> metrics -> figures -> report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kedro.pipeline import Node, Pipeline

from excise.pipelines.names import PLAIN, variants
from excise.pipelines.selection import selected_attack, selected_concept, selected_eraser

from .fidelity import measure_fidelity
from .nodes import (
    check_judge,
    draw_contact_sheet,
    draw_rates,
    draw_reactivation,
    summarise_run,
    write_report,
)


def create_pipeline(concept: str | None = None, method: str | None = None, attack: str | None = None, **_) -> Pipeline:
    c, x_name = concept or selected_concept("nsfw"), method or selected_eraser()
    attack = attack or selected_attack()
    return report_on(c, {e: (f"{c}.{e}", (attack,)) for e in ("none", *variants(x_name).values())})


def report_on(home: str, models: Mapping[str, tuple[str, Sequence[str]]], audited: str | None = None) -> Pipeline:
    """The report on some models.

    Args:
        home: what the names of concept, prompts and results begin with.
        models: name in the report, the base model's first -> what the names of the model's data sets begin with, and
            the attacks on it.
        audited: the data set that describes a checkpoint which others made; there are no figures of neurons then.
    """

    def cells(what: str, attacked: bool, plain: bool = False, bare: str | None = None) -> dict[str, str]:
        """Keyword -> data set, for every model, plain or attacked or both; for the one that is ``bare`` only plain."""
        return {
            f"{name}__{a}__{what}": f"{where}.{a}.{what}"
            for name, (where, attacks) in models.items()
            for a in ((PLAIN,) * plain + tuple(attacks) * (attacked and name != bare))
        }

    c = home
    judged = cells("judgements", attacked=True, plain=True)
    bare = next(iter(models)) if audited else None  # a contact sheet of many attacks is long enough
    sheet = cells("judgements", True, True, bare) | cells("images", True, True, bare)
    known = {"concept": f"{c}.concept", "prompts": f"{c}.prompts"}
    neurons = {} if audited else cells("neurons", attacked=True)
    about = {"audited": audited} if audited else {}
    erased = {} if audited else {f"{e}__located": f"{where}.located" for e, (where, _) in models.items() if e != "none"}
    shown = {} if audited else {"reactivation": f"{c}.reactivation"} | erased
    made = Pipeline(
        []
        if audited
        else [Node(draw_reactivation, neurons, f"{c}.reactivation", name="draw_reactivation", namespace=c)]
    )
    return made + Pipeline(
        [
            Node(
                measure_fidelity,
                {**known, "fidelity": "params:fidelity", **cells("images", attacked=False, plain=True)},
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
                    **cells("retain_judgements", attacked=False, plain=True),
                    **cells("typed_judgements", attacked=True),
                    **cells("adversarial", attacked=True),
                    **neurons,
                    **{f"{name}__eraser": f"{where}.eraser" for name, (where, _) in models.items()},
                    **about,
                },
                f"{c}.metrics",
                name="summarise_run",
                namespace=c,
            ),
            Node(
                draw_contact_sheet,
                {**known, **sheet},
                f"{c}.contact_sheet",
                name="draw_contact_sheet",
                namespace=c,
            ),
            Node(draw_rates, f"{c}.metrics", f"{c}.rates", name="draw_rates", namespace=c),
            Node(
                write_report,
                {
                    **known,
                    "prompt_counts": f"{c}.prompt_counts",
                    "metrics": f"{c}.metrics",
                    "contact_sheet": f"{c}.contact_sheet",
                    "rates": f"{c}.rates",
                    **shown,
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
