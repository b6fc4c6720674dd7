"""What ``conf/base/airflow.yml`` says of each DAG."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from excise.errors import UserError

NAME = re.compile(r"[A-Za-z]\w{0,99}")
PRESETS = ("@once", "@continuous", "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")


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
    start_date: date = Field(date(2026, 1, 1), ge=date(2000, 1, 1))
    catchup: bool = False
    retries: int = Field(2, ge=0, le=100)
    retry_minutes: float = Field(5, ge=0, le=10_080, allow_inf_nan=False)
    max_active_runs: int = Field(1, ge=1)
    max_active_tasks: int = Field(1, ge=1)
    shards: Shards = Shards()
    tags: list[Annotated[str, Field(min_length=1, max_length=100)]] = []

    @field_validator("params")
    @classmethod
    def _writable(cls, params: dict) -> dict:
        for key, value in params.items():
            if any(sign in f"{key}{value}" for sign in ",=\n"):
                raise ValueError(f"'{key}' cannot be given on a command line: put it into an environment's parameters")
        if taken := sorted({"shard", "processes"} & params.keys()):
            raise ValueError(f"'{taken[0]}' is not for a DAG, whose tasks are cut by 'shards'")
        return params

    @field_validator("schedule")
    @classmethod
    def _known(cls, schedule: str | None) -> str | None:
        """A slip in it would be found by the scheduler, and by nobody else."""
        if schedule is None or schedule in PRESETS or re.fullmatch(r"[\w*/,?#-]+( [\w*/,?#-]+){4}", schedule):
            return schedule
        raise ValueError(f"'{schedule}' is neither five fields of cron nor one of {', '.join(PRESETS)}")

    @model_validator(mode="after")
    def _one_at_a_time(self) -> DagOptions:
        if self.schedule == "@continuous" and self.max_active_runs > 1:
            raise ValueError("@continuous allows one run at a time: set max_active_runs to 1")
        return self


def read_options(config: dict[str, Any], pipelines: Iterable[str]) -> dict[str, DagOptions]:
    """DAG name -> options: one for every pipeline, and those that the file adds.

    Args:
        config: the file: ``default`` holds for all, every other key names a DAG.
        pipelines: those that there are.

    Raises:
        UserError: a DAG runs no known pipeline, or has an option that does not exist.
    """
    known = sorted(pipelines)
    for name, value in config.items():
        if not isinstance(value, dict | None):
            raise UserError(f"airflow.yml: '{name}' must have options below it, and it is {value!r}.")
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
