"""The sets that are known by name."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

SETS = Path(__file__).with_name("sets.yml")


class Columns(BaseModel):
    """Names that a column may go under; the first one that is there is taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    prompt: tuple[str, ...] = Field(min_length=1)
    seed: tuple[str, ...] = ()
    guidance: tuple[str, ...] = ()
    other: tuple[str, ...] = Field((), description="what else the published files have, to choose rows by")


class PromptSet(BaseModel):
    """A published set of prompts."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    about: str
    place: str = Field(description="where its file is to be had")
    hub: str = Field("", description="its id on the hub; empty where it is not there")
    revision: str | None = Field(None, description="a commit on the hub; null takes the newest")
    columns: Columns
    known: dict[str, str] = Field({}, description="SHA-256 of a published file -> its name")
    template: str = Field("{prompt}", description="what is made of a row's prompt")

    @field_validator("template")
    @classmethod
    def _has_a_place(cls, template: str) -> str:
        if "{prompt}" not in template:
            raise ValueError("the template has no {prompt} in it")
        return template


@lru_cache(1)
def prompt_sets() -> dict[str, PromptSet]:
    """Name -> set."""
    import yaml

    return {name: PromptSet(name=name, **one) for name, one in yaml.safe_load(SETS.read_text("utf-8")).items()}
