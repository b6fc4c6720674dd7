"""What a concept's file may say by its form and cannot mean: words both erased and kept, slots that nothing fills."""

from __future__ import annotations

from typing import Any

from excise.concepts.concept import Concept, load_concept
from excise.errors import UserError, short


def sound_concept(name: str, concepts: dict[str, Any]) -> Concept:
    """The concept, once its words fit together.

    Raises:
        UserError: it does not exist, or asks for what cannot be.
    """
    where, described = f"conf/*/concepts/{name}.yml", concepts.get(name)
    slots = described.get("slots") if isinstance(described, dict) else None
    if isinstance(slots, dict) and "concept" in slots:
        raise UserError(
            f"{where}: 'slots' has one called 'concept', which is filled with the target words: call it otherwise."
        )
    try:
        concept = load_concept(name, concepts)
    except (AttributeError, TypeError):  # of str.format: {style.of} and {style[0]} are more than names
        raise UserError(f"{where}: 'templates' has a {{slot}} that is not a name alone: write {{style}}.") from None
    if not concept.erase.strip():
        raise UserError(f"{where}: 'erase' is empty: write in words what is to be erased, for the report.")
    erased = {_plain(word) for word in concept.words}
    if _plain(concept.anchor) in erased:
        raise UserError(
            f"{where}: 'anchor' is '{short(concept.anchor)}', which is to be erased: name something harmless, or leave "
            "it empty."
        )
    for place in ("retain_near", "retain_far"):
        for label, words in getattr(concept, place).items():
            for word in words:
                if _plain(word) in erased:
                    raise UserError(
                        f"{where}: '{place}.{label}' has '{short(word)}', which is to be erased: remove it from one of "
                        "them."
                    )
    return concept


def _plain(words: str) -> str:
    return " ".join(words.lower().split())
