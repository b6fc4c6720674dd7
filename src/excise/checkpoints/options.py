"""What an audit runs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class AuditOptions(BaseModel):
    """Attributes:
    attacks: names under ``attacks`` in the parameters; ``all`` for those that make sense for the checkpoint.
    """

    model_config = ConfigDict(extra="forbid")
    attacks: Literal["all"] | list[str] = Field("all")

    @field_validator("attacks", mode="before")
    @classmethod
    def _one_or_more(cls, attacks: object) -> object:
        """One attack may stand alone: on the command line there are no lists."""
        return [attacks] if isinstance(attacks, str) and attacks != "all" else attacks

    @field_validator("attacks")
    @classmethod
    def _some(cls, attacks: object) -> object:
        if not attacks:
            raise ValueError("name at least one attack, or all")
        return attacks
