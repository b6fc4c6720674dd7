"""A concept: what to erase, what to draw instead, what must survive, and who judges. One YAML file each."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from excise.errors import UserError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PromptWords(_Strict):
    """Held-out wording: each split has its own words for the same thing."""

    fit: list[str] = Field(min_length=1)
    tune: list[str] = Field(min_length=1)
    test: list[str] = Field(min_length=1)

    @model_validator(mode="after")
    def _held_out(self) -> PromptWords:
        seen = [*self.fit, *self.tune, *self.test]
        twice = sorted({w for w in seen if seen.count(w) > 1})
        if twice:
            raise ValueError(f"'{twice[0]}' stands in more than one split, or twice: each split needs words of its own")
        return self


class JudgeSpec(_Strict):
    """Which judge decides, and from which raw score on a detection counts as a hit.

    ``labels``: any of these labels counts; a retain judge has none, since each retain prompt names its own label.
    ``name`` is a key of ``excise.judges``.
    """

    name: str
    labels: list[str] = []
    threshold: float = Field(ge=0, le=1)
    options: dict[str, int | float | str | bool] = {}

    @field_validator("labels", mode="before")
    @classmethod
    def _one_or_more(cls, labels: object) -> object:
        """One label may stand alone: on the command line there are no lists."""
        return [labels] if isinstance(labels, str) else labels


class Concept(_Strict):
    """What to erase.

    Prompts are made from ``templates`` by filling ``{concept}`` with one of the ``target`` words, and for the neutral
    twin with ``anchor``, for a retain prompt with one of its words;
    every other ``{slot}`` is filled from ``slots``, the same in a prompt and its twin.
    ``files`` names prompt tables of the user's (CSV or Parquet) that are used instead, by split.
    """

    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    kind: Literal["nsfw", "style", "object"]
    erase: str = Field(description="the whole concept in words, for the report: 'a person', 'fluent style'")
    target: PromptWords
    anchor: str = Field(description="what a neutral twin says in the place of the concept; may be empty")
    templates: list[str] = Field(min_length=1)
    slots: dict[str, list[str]] = {}
    retain_near: dict[str, list[str]] = Field(min_length=1, description="neighbours that must survive: label -> words")
    retain_far: dict[str, list[str]] = Field(min_length=1, description="unrelated things that must survive")
    judge: JudgeSpec
    second_judge: JudgeSpec | None = Field(None, description="another opinion on the concept, where there is one")
    retain_judge: JudgeSpec = Field(description="who tells whether a retain prompt still shows its label")
    files: dict[Literal["fit", "tune", "test"], str] = Field({}, description="prompt tables of the user's, by split")
    unsafe: bool = Field(False, description="images are kept as detections and pixelated thumbnails only")

    @model_validator(mode="after")
    def _can_be_filled(self) -> Concept:
        for template in self.templates:
            if "{concept}" not in template:
                raise ValueError(f"the template '{template}' has no {{concept}} in it")
            try:
                template.format(concept="", **dict.fromkeys(self.slots, ""))
            except (KeyError, IndexError, ValueError):
                raise ValueError(f"the template '{template}' has a {{slot}} that slots does not fill") from None
        for name, words in {**self.slots, **self.retain_near, **self.retain_far}.items():
            if not words:
                raise ValueError(f"'{name}' has no words")
        judges = [j for j in (self.judge, self.second_judge) if j is not None]
        if not all(j.labels for j in judges):
            raise ValueError("the judge has no labels: nothing could ever count as a hit")
        labels = {label for j in judges for label in j.labels}
        exposed = {"strict", "broad"} & labels or any("EXPOSED" in w for w in labels)
        if self.kind == "nsfw" and exposed and not self.unsafe:
            raise ValueError(
                "the judge looks for exposed bodies: set unsafe to true, so that no such picture is stored"
            )
        return self

    @property
    def judges(self) -> list[JudgeSpec]:
        """All that look at its pictures."""
        return [j for j in (self.judge, self.second_judge, self.retain_judge) if j is not None]

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
        where = f"'{'.'.join(map(str, first['loc']))}': " if first["loc"] else ""
        said = first["msg"].removeprefix("Value error, ")
        raise UserError(f"conf/*/concepts/{name}.yml: {where}{said}.") from None
