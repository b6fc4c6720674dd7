"""A run under an id that is given from outside: ``EXCISE_RUN_ID``.

A scheduler runs a pipeline task by task, each in a process of its own. What they save is one run's all the same: one
save version, one MLflow run. A task that is tried again writes its outputs anew.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from excise.errors import UserError

logger = logging.getLogger(__name__)
VARIABLE = "EXCISE_RUN_ID"
FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d\.\d{3}Z")  # Kedro's own: the largest is the latest


def given_id() -> str | None:
    """The id that was given, or None.

    Raises:
        UserError: it would not sort among Kedro's own.
    """
    given = os.environ.get(VARIABLE)
    if given is not None and not _is_time(given):
        raise UserError(f"{VARIABLE} cannot be '{given}': write a time in the form 2026-01-31T09.30.00.000Z.")
    return given


def _is_time(text: str) -> bool:
    """Of Kedro's form, and one that there is: a month 99 would be the latest for ever."""
    try:
        datetime.strptime(text, "%Y-%m-%dT%H.%M.%S.%fZ")
    except ValueError:
        return False
    return FORM.fullmatch(text) is not None


@contextmanager
def under_given_id() -> Iterator[None]:
    """Kedro's sessions that begin in here have the id that was given, if one was."""
    from kedro.framework.session import session

    given, own = given_id(), session.generate_timestamp
    if given is not None:
        session.generate_timestamp = lambda: given
    try:
        yield
    finally:
        session.generate_timestamp = own


class GivenIdHook:
    """Removes what an earlier try at the same nodes saved under the given id: Kedro never saves a version twice."""

    @hook_impl(trylast=True)  # when everything else has agreed to start
    def before_pipeline_run(self, pipeline: Any, catalog: Any) -> None:
        """Make room."""
        given = given_id()
        for name in sorted(pipeline.all_outputs()) if given else []:
            dataset = catalog.get(name)
            if getattr(dataset, "_version", None) is not None and dataset.resolve_save_version() == given:
                earlier = Path(str(dataset._filepath)) / given
                if earlier.exists():
                    logger.info("An earlier try had saved '%s': it is made anew.", name)
                    shutil.rmtree(earlier)
