"""What ``conf/base/airflow.yml`` says of each DAG."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from excise.errors import UserError

NAME = re.compile(r"[A-Za-z]\w{0,99}")


class Shards(BaseModel):
    """Into how many tasks each kind of work is cut; 1 leaves it whole."""

    model_config = ConfigDict(extra="forbid")
    attack: int = Field(1, ge=1, le=1000)
    draw: int = Field(1, ge=1, le=1000)
    judge: int = Field(1, ge=1, le=1000)


class DagOptions(BaseModel):
    """A DAG.

    Attributes:
        pipeline: what it runs; by default the pipeline of the DAG's own name.
        env: Kedro environment.
        params: as in ``kedro run --params``; they choose concept, eraser and attack, and so the tasks.
        schedule: cron expression or preset such as ``@weekly``; None for runs that are started by hand.
        retries: how often a task is tried again, unless the user has something to mend first.
        retry_minutes: wait before that.
        max_active_runs: runs of this DAG at the same time.
        max_active_tasks: tasks of a run at the same time: as many as there are devices.
    """

    model_config = ConfigDict(extra="forbid")
    pipeline: str
    env: str | None = None
    params: dict[str, str | int | float | bool] = {}
    schedule: str | None = None
    start_date: date = date(2026, 1, 1)
    catchup: bool = False
    retries: int = Field(2, ge=0)
    retry_minutes: float = Field(5, ge=0)
    max_active_runs: int = Field(1, ge=1)
    max_active_tasks: int = Field(1, ge=1)
    shards: Shards = Shards()
    tags: list[str] = []

    @field_validator("params")
    @classmethod
    def _writable(cls, params: dict) -> dict:
        for key, value in params.items():
            if any(sign in f"{key}{value}" for sign in ",=\n"):
                raise ValueError(f"'{key}' cannot be given on a command line: put it into an environment's parameters")
        return params


def read_options(config: dict[str, Any], pipelines: Iterable[str]) -> dict[str, DagOptions]:
    """DAG name -> options: one for every pipeline, and those that the file adds.

    Args:
        config: the file: ``default`` holds for all, every other key names a DAG.
        pipelines: those that there are.

    Raises:
        UserError: a DAG runs no known pipeline, or has an option that does not exist.
    """
    known = sorted(pipelines)
    default, named = config.get("default") or {}, {k: v or {} for k, v in config.items() if k != "default"}
    found = {}
    for name in sorted({*known, *named}):
        if NAME.fullmatch(name) is None:
            raise UserError(f"airflow.yml: '{name}' cannot name a DAG: use letters, digits and underscores.")
        given = {"pipeline": name, **default, **named.get(name, {})}
        if given["pipeline"] not in known:
            near = get_close_matches(str(given["pipeline"]), known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}."
            raise UserError(f"airflow.yml: the DAG '{name}' runs '{given['pipeline']}', and there is none: {hint}")
        try:
            found[name] = DagOptions.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, (name, *first["loc"])))
            said = (
                "does not exist" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
            )
            raise UserError(f"airflow.yml: {where}: {said[0].lower()}{said[1:]}.") from None
    return found
