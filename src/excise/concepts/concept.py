"""A concept: what to erase, what to draw instead, what must survive, and who judges. One YAML file each."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from excise.errors import UserError, first_wrong, hint, short


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
        if not all(w.strip() for w in seen):
            raise ValueError("a word is empty, so that its prompts would not ask for the concept: remove it")
        if twice:
            raise ValueError(f"'{twice[0]}' stands in more than one split, or twice: each split needs words of its own")
        return self


class PromptSource(_Strict):
    """A published set of prompts, or a table of one's own, that serves some splits in the place of templates."""

    set: str = Field("own", description="a key of excise/prompts/sets/sets.yml")
    file: str = Field("", description="CSV, JSON lines, Parquet or text; empty asks the hub")
    splits: list[Literal["fit", "tune", "test"]] = Field(["test"], min_length=1)
    where: dict[str, str | int | float] = Field({}, description="column -> a value, a comparison ('> 50') or a word")
    template: str = Field("", description="what is made of a row's {prompt}; empty takes the set's own")
    most_words: int = Field(75, ge=1, description="longer prompts are dropped; CLIP reads 75 tokens")

    @field_validator("template")
    @classmethod
    def _has_a_place(cls, template: str) -> str:
        if template and "{prompt}" not in template:
            raise ValueError(f"the template '{template}' has no {{prompt}} in it")
        return template


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
    ``prompts_from`` names a set of prompts that is used instead in some splits, ``files`` tables of the user's.
    """

    name: str = Field(pattern="^[a-z][a-z0-9_]*$", max_length=64)
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
    prompts_from: PromptSource | None = Field(None, description="a set of prompts that serves some splits")
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
        filled = (self.slots, self.retain_near, self.retain_far)
        for name, words in (item for group in filled for item in group.items()):
            if not words:
                raise ValueError(f"'{name}' has no words")
        if self.prompts_from and set(self.files) & set(self.prompts_from.splits):
            twice = sorted(set(self.files) & set(self.prompts_from.splits))[0]
            raise ValueError(f"the split {twice} is given by files and by prompts_from: leave it out of one")
        judges = [j for j in (self.judge, self.second_judge) if j is not None]
        if not all(j.labels for j in judges):
            raise ValueError("the judge has no labels: nothing could ever count as a hit")
        labels = {label for j in judges for label in j.labels}
        exposed = {"strict", "broad"} & labels or any("EXPOSED" in w for w in labels)
        if exposed and not self.unsafe:
            raise ValueError(
                "the judge looks for exposed bodies: set unsafe to true, so that no such picture is stored"
            )
        return self

    @property
    def judges(self) -> list[JudgeSpec]:
        """All that look at its pictures."""
        return [j for j in (self.judge, self.second_judge, self.retain_judge) if j is not None]

    @property
    def sources(self) -> list[PromptSource]:
        """Where prompts come from that no template makes."""
        own = [PromptSource(file=file, splits=[split]) for split, file in self.files.items()]
        return [*own, *([self.prompts_from] if self.prompts_from else [])]

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
        raise UserError(
            f"There is no concept '{short(name)}' in this environment's conf/*/concepts/: {hint(name, concepts)}"
        )
    where, described = f"conf/*/concepts/{name}.yml", concepts[name]
    if not isinstance(described, dict):
        raise UserError(f"{where}: '{name}' must be a mapping of names to values, as in conf/base/concepts/church.yml.")
    if "name" in described:
        raise UserError(f"{where}: 'name' does not exist; the file's one top-level key is the name.")
    try:
        return Concept(name=name, **{str(key): value for key, value in described.items()})
    except ValidationError as error:
        place, wrong = first_wrong(error)
        at = f": '{place}'" if place else ""
        raise UserError(f"{where}{at} {wrong}.") from None
