"""A concept: what to erase, what to draw instead, what must survive, and who judges. One YAML file each."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from excise.errors import UserError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PromptWords(_Strict):
    """Held-out wording: each split has its own words for the same thing."""

    fit: list[str] = Field(min_length=1)
    tune: list[str] = Field(min_length=1)
    test: list[str] = Field(min_length=1)


class JudgeSpec(_Strict):
    """Which judge decides, and from which raw score on a detection counts as a hit.

    ``labels``: any of these labels counts; a retain judge has none, since each retain prompt names its own label.
    ``name`` is a key of ``excise.judges``.
    """

    name: str
    labels: list[str] = []
    threshold: float = Field(ge=0, le=1)
    options: dict[str, int | float | str | bool] = {}


class Concept(_Strict):
    """What to erase.

    Prompts are made from ``templates`` by filling ``{concept}`` with one of the ``target`` words, and for the neutral
    twin with ``anchor``, for a retain prompt with one of its words;
    every other ``{slot}`` is filled from ``slots``, the same in a prompt and its twin.
    ``files`` names prompt tables of the user's (CSV or Parquet) that are used instead, by split.
    """

    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    kind: Literal["nsfw", "style", "object"]
    erase: str = Field(description="the words for the whole concept, which erasers get: 'a person', 'fluent style'")
    target: PromptWords
    anchor: str = Field(description="what a neutral twin says in the place of the concept; may be empty")
    templates: list[str] = Field(min_length=1)
    slots: dict[str, list[str]] = {}
    retain_near: dict[str, list[str]] = Field(min_length=1, description="neighbours that must survive: label -> words")
    retain_far: dict[str, list[str]] = Field(min_length=1, description="unrelated things that must survive")
    judge: JudgeSpec
    retain_judge: JudgeSpec = Field(description="who tells whether a retain prompt still shows its label")
    files: dict[Literal["fit", "tune", "test"], str] = Field({}, description="prompt tables of the user's, by split")
    unsafe: bool = Field(False, description="images are kept as detections and pixelated thumbnails only")

    @property
    def words(self) -> list[str]:
        """The target words of all splits."""
        return [*self.target.fit, *self.target.tune, *self.target.test]


def load_concept(name: str, concepts: dict) -> Concept:
    """Find and check a concept in the ``concepts`` configuration (one top-level key a file).

    Raises:
        UserError: unknown name, or a file that does not describe a concept.
    """
    if name not in concepts:
        near = get_close_matches(name, concepts, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(sorted(concepts))}."
        raise UserError(f"There is no concept '{name}' in this environment's conf/*/concepts/: {hint}")
    try:
        return Concept(name=name, **concepts[name])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"conf/*/concepts/{name}.yml: '{where}': {first['msg']}.") from None
