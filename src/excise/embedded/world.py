"""The world of emoji64: what the model can draw, in which styles, and the words for it."""

from __future__ import annotations

from functools import cached_property
from itertools import product

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Style(_Strict):
    """A vendor's hand. ``sha256`` is that of the package's archive."""

    package: str
    version: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    licence: str
    tone: str = Field(description="this vendor's spelling of a skin tone, with {tone} in it")
    words: list[str] = Field(min_length=1)


class Thing(_Strict):
    """An object (``icon``, the same name at every vendor) or a person (``icons``, a name a vendor)."""

    icon: str | None = None
    icons: dict[str, str] = {}
    words: list[str] = Field(min_length=3, description="synonyms; the first is the plain name")


class Background(_Strict):
    rgb: tuple[int, int, int]
    words: list[str] = Field(min_length=1)


class Templates(_Strict):
    things: list[str]
    styles: list[str]
    tones: list[str]
    grounds: list[str]


class Icon(_Strict):
    """One drawing: a thing in a style, and for persons in a skin tone."""

    thing: str
    style: str
    tone: str | None
    file: str = Field(description="the icon's name in the vendor's archive")


class World(_Strict):
    """Everything that a training caption can speak of."""

    exclude: list[str] = []
    house_style: str
    styles: dict[str, Style]
    tones: dict[str, list[str]]
    backgrounds: dict[str, Background]
    objects: dict[str, Thing]
    persons: dict[str, Thing]
    templates: Templates

    @model_validator(mode="after")
    def _known_names(self) -> World:
        unknown = set(self.exclude) - {"person", *self.styles, *self.objects, *self.persons}
        if unknown:
            raise ValueError(f"world.exclude names {sorted(unknown)}, which the world does not have")
        if self.house_style not in self.styles:
            raise ValueError(f"world.house_style must be one of {sorted(self.styles)}")
        if self.house_style in self.exclude:
            raise ValueError("world.house_style is excluded; choose another house style")
        return self

    @property
    def shown_styles(self) -> list[str]:
        return [s for s in self.styles if s not in self.exclude]

    @property
    def shown_objects(self) -> list[str]:
        return [o for o in self.objects if o not in self.exclude]

    @property
    def shown_persons(self) -> list[str]:
        return [] if "person" in self.exclude else [p for p in self.persons if p not in self.exclude]

    def words(self, thing: str) -> list[str]:
        """Synonyms for a thing."""
        return (self.objects.get(thing) or self.persons[thing]).words

    @cached_property
    def icons(self) -> list[Icon]:
        """All drawings of the world, objects first; the order is fixed."""
        objects = [
            Icon(thing=o, style=s, tone=None, file=self.objects[o].icon or self.objects[o].icons[s])
            for o, s in product(self.shown_objects, self.shown_styles)
        ]
        persons = [
            Icon(
                thing=p, style=s, tone=t, file=self.persons[p].icons[s].format(tone=self.styles[s].tone.format(tone=t))
            )
            for p, s, t in product(self.shown_persons, self.shown_styles, self.tones)
        ]
        return objects + persons
