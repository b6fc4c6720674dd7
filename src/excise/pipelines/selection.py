"""What a pipeline works on: ``--params=concept=NAME,eraser=NAME,attack=NAME,masks=all,export.variant=NAME``.

Data sets are named by them, so the choice has to be known before pipelines are built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from excise.errors import UserError, refuse_no_name, refuse_no_part, refuse_unknown

# what conf/base/globals.yml says, for commands that build pipelines without reading the configuration
# (`kedro registry describe`)
DEFAULTS = {"nsfw": "person", "style": "fluent", "object": "church"}

RESERVED = ("none", "plain", "fit")  # folders of what is made without an eraser or an attack
ERASER, ATTACK = "ac", "unlearndiffatk"
MASKS = ("learned", "all")  # which masks of P-X are made: the learned one, or its two controls too


@dataclass(frozen=True)
class AuditChoice:
    """What decides which attacks an audit runs.

    Attributes:
        attacks: named by the user, or all that the parameters describe.
        all: whether nobody named any: then those that make no sense here are left out.
        masked: whether the checkpoint says which weights a mask set to zero.
        unsafe: concepts whose pictures may not be kept.
    """

    attacks: tuple[str, ...] = (ATTACK,)
    all: bool = False
    masked: bool = False
    unsafe: frozenset[str] = frozenset()


_concept: str | None = None
_eraser: str = ERASER
_attack: str = ATTACK
_masks: str = MASKS[0]
_variant: str | None = None
_audit: AuditChoice = AuditChoice()
_defaults: dict[str, str] = dict(DEFAULTS)


def set_selection(
    concept: str | None,
    defaults: Mapping[str, str],
    eraser: str = ERASER,
    attack: str = ATTACK,
    masks: str = MASKS[0],
    variant: str | None = None,
    audit: AuditChoice | None = None,
) -> None:
    """Choose for all pipelines that are built from now on.

    Args:
        concept: the user's choice for this run, or None.
        defaults: kind -> concept; kinds that are not in it keep ``DEFAULTS``.
        eraser: the method X.
        attack: the attack on it.
        masks: one of ``MASKS``.
        variant: which of the erasers made from X is exported; None for P-X where there is one.
        audit: what an audit runs.

    Raises:
        UserError: ``masks`` is none of them, or a name could not be part of a path.
    """
    global _concept, _defaults, _eraser, _attack, _masks, _variant, _audit
    if masks not in MASKS:
        raise UserError(f"The parameter 'masks' is '{masks}': it must be one of {', '.join(MASKS)}.")
    for name in [*defaults.values(), *([concept] if concept is not None else [])]:
        refuse_no_name("a concept", str(name))  # folders are called by it
    for what, name in (("an eraser", eraser), ("an attack", attack)):
        refuse_no_part(what, str(name))
    audited = audit.attacks if audit else ()
    for what, name in (("eraser", eraser), ("attack", attack), *(("attack", name) for name in audited)):
        if name in RESERVED:
            raise UserError(f"'{name}' is no {what}: results are called so that were made without one. Name another.")
    if eraser.startswith("p_") or eraser.endswith("_plus"):
        raise UserError(
            f"'{eraser}' cannot be the name of an eraser: what is made from one is called so. Name another."
        )
    for kind in defaults:
        refuse_unknown("kind of concept", kind, DEFAULTS)
    chosen = (concept, {**DEFAULTS, **defaults}, eraser, attack, masks, variant, audit or AuditChoice())
    if chosen == (_concept, _defaults, _eraser, _attack, _masks, _variant, _audit):
        return
    _concept, _defaults, _eraser, _attack, _masks, _variant, _audit = chosen
    from kedro.framework.project import pipelines

    # Kedro keeps the pipelines that it built; a second run in this process would work on the first one's concept
    pipelines.configure("excise.pipeline_registry")


def selected_concept(kind: str) -> str:
    """The name of the concept for pipelines of a kind (``nsfw``, ``style``, ``object``)."""
    return _concept or _defaults[kind]


def selected_eraser() -> str:
    """The name of the eraser X: a key of the parameter ``erasers``."""
    return _eraser


def selected_attack() -> str:
    """The name of the attack: a key of the parameter ``attacks``."""
    return _attack


def selected_masks() -> str:
    """Which masks of P-X are made: one of ``MASKS``."""
    return _masks


def selected_variant() -> str | None:
    """Which of the erasers made from X is exported, a key of ``names.variants``; None if nobody said."""
    return _variant


def selected_audit() -> AuditChoice:
    """What decides which attacks an audit runs."""
    return _audit


def pipeline_kind(pipeline: str) -> str | None:
    """The kind that a pipeline's name ends with: ``erase_nsfw`` -> ``nsfw``; None if it works on no kind."""
    return next((kind for kind in DEFAULTS if pipeline.endswith(f"_{kind}")), None)
