"""How data sets and nodes are named: by concept, eraser and attack."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper

PLAIN = "plain"


def bind(function: Callable, **fixed) -> Callable:
    """A node function with some arguments fixed, under its own name."""
    return update_wrapper(partial(function, **fixed), function)


def variants(method: str) -> dict[str, str]:
    """Names of an eraser X, its control X+ and P-X; of a method that is a mask already, X alone."""
    from excise.erasers import ERASERS

    names = {"unpruned": method, "plus": f"{method}_plus", "learned": f"p_{method}"}
    pruned = method not in ERASERS or ERASERS[method].maskable  # what is unknown is refused later, by name
    return names if pruned else {"unpruned": method}
