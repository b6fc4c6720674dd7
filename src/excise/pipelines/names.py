"""How data sets and nodes are named: by concept, eraser and attack."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from excise.attacks import Attack

PLAIN = "plain"
# kinds of work that are cut into shards, and the tags of the nodes that do it; the first word of a node's name is one
SHARDED = {kind: f"sharded-{kind}" for kind in ("attack", "draw", "judge")}


def bind(function: Callable, **fixed) -> Callable:
    """A node function with some arguments fixed, under its own name."""
    return update_wrapper(partial(function, **fixed), function)


def variants(method: str) -> dict[str, str]:
    """Names of an eraser X, its control X+ and P-X, and where they are selected P-X's control masks; of a method that
    is a mask already, X alone."""
    from excise.erasers import ERASERS
    from excise.pipelines.selection import selected_masks

    names = {"unpruned": method, "plus": f"{method}_plus", "learned": f"p_{method}"}
    if selected_masks() == "all":
        names |= {kind: f"p_{method}_{kind}" for kind in ("scored", "random")}
    pruned = method not in ERASERS or ERASERS[method].maskable  # what is unknown is refused later, by name
    return names if pruned else {"unpruned": method}


def learning_attack(attack: str) -> str:
    """The attack on X that P-X learns against: the chosen one, where it is one by words."""
    from excise.attacks import by_words
    from excise.pipelines.selection import ATTACK

    made = _with_defaults(attack)
    return attack if made is None or by_words(made) else ATTACK


def _with_defaults(attack: str) -> Attack | None:
    """An attack by its name; None where it is unknown or cannot be made, which is refused later, by name."""
    from excise.attacks import ATTACKS

    try:
        return ATTACKS[attack]()
    except Exception:
        return None


def exported(method: str) -> str:
    """The name of the eraser that is exported: the variant that is selected, or P-X, or X where there is no P-X."""
    from excise.pipelines.selection import selected_variant

    names, variant = variants(method), selected_variant()
    if variant is not None:
        return names.get(variant, variant)  # one that is not made is refused later, by name
    return names.get("learned", names["unpruned"])


def audited_attacks(concept: str) -> list[str]:
    """Attacks that an audit runs: those that were named, or all that make sense.

    What revives a mask's zeros needs a checkpoint that says which they are; what starts from pictures of the concept is
    nothing for an unsafe one.
    """
    from excise.attacks import ThreatModel
    from excise.pipelines.selection import selected_audit

    choice = selected_audit()
    if not choice.all:
        return list(dict.fromkeys(choice.attacks))
    known = {name: made for name in choice.attacks if (made := _with_defaults(name)) is not None}
    left_out = {name for name, attack in known.items() if getattr(attack, "revives", False) and not choice.masked}
    if concept in choice.unsafe:
        left_out |= {name for name, attack in known.items() if attack.threat_model == ThreatModel.IMAGE}
    return [name for name in choice.attacks if name not in left_out]


def comparing(attack: str) -> bool:
    """Whether an attack needs the base model beneath an eraser, so that the base model alone cannot be attacked so."""
    from excise.attacks import ATTACKS

    return getattr(ATTACKS.get(attack), "compares", False)
