"""The file that Airflow reads: the plan of a DAG and what runs its tasks, with nothing to import but Airflow."""

from __future__ import annotations

import json
import pprint
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from excise.errors import TRY_AGAIN

from .options import DagOptions
from .plan import Task

if TYPE_CHECKING:
    from jinja2 import Template

WIDTH = 110


def dag_source(name: str, options: DagOptions, tasks: list[Task], project: Path, python: Path) -> str:
    """Python source of a DAG.

    Args:
        name: the DAG is ``excise.<name>``.
        project: where the project is on the machines that run tasks; ``EXCISE_PROJECT`` there says otherwise.
        python: of the project's environment there; ``EXCISE_PYTHON`` says otherwise.
    """
    arguments = [f"--pipelines={options.pipeline}"]
    arguments += [f"--env={options.env}"] if options.env else []
    given = {
        "name": name,
        "pipeline": options.pipeline,
        "project": str(project),
        "python": str(python),
        "arguments": arguments,
        "params": [f"{k}={json.dumps(v) if isinstance(v, bool) else v}" for k, v in options.params.items()],
        "try_again": TRY_AGAIN,
        "tasks": [asdict(task) for task in tasks],
        "options": options,
        "start": [options.start_date.year, options.start_date.month, options.start_date.day],
    }
    return _template().render(**given)


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    world = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # it writes Python
    world.filters["python"] = lambda value: pprint.pformat(value, width=WIDTH, sort_dicts=False)
    return world.from_string((Path(__file__).parent / "dag.py.jinja").read_text())
