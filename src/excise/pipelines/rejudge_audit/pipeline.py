"""stored pictures of an audit -> another judge -> table."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from excise.pipelines.names import audited_attacks, comparing
from excise.pipelines.rejudge.pipeline import second_opinion
from excise.pipelines.selection import selected_concept


def create_pipeline(concept: str | None = None, **_) -> Pipeline:
    c = concept or selected_concept("nsfw")
    attacks = audited_attacks(c)
    below = [name for name in attacks if not comparing(name)]  # as in the audit
    return second_opinion(f"{c}.audit", {"none": (f"{c}.audit_base", below), "audited": (f"{c}.audited", attacks)})
