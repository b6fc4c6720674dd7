"""A cheap node, done again on what is stored."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from excise.errors import short
from excise.provenance import NodeRecord, RunRecord

from ..jobs import Job
from .differences import differences
from .finding import Finding
from .stored import GoneError, inputs_of, load_stored


def check_node(run: RunRecord, record: NodeRecord, job: Job, changed: Collection[str] = ()) -> Iterator[Finding]:
    """A cheap node, done again on its stored inputs.

    Args:
        changed: files that hold other bytes than were noted: on those nothing is made again.
    """
    from excise.images import ImageSet, judged_while_drawn

    node = job.node(record.node)
    if node is None:
        yield Finding("unchecked", record.node, "its pipeline no longer has it")
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            given = inputs_of(run, record, node, job, Path(folder), changed)
        except GoneError as error:
            yield Finding(error.outcome, record.node, str(error))
            return
        for images in (v for v in given.values() if isinstance(v, ImageSet)):
            if not images.complete:
                yield Finding("unchecked", record.node, "its pictures are no longer in the cache")
                return
            if judged_while_drawn(images) is not None:
                yield Finding("unchecked", record.node, "of an unsafe concept only coarse pictures are kept")
                return
        try:
            made = node.run(given)
        except Exception as error:  # whatever it is: the other checks are made all the same
            told = f"it cannot be made again: {type(error).__name__}: {short(str(error), 120)}"
            yield Finding("unchecked", record.node, told)
            return
    for name, data in made.items():
        try:
            stored = load_stored(job, name, record.outputs[name], changed, compared=True)
        except GoneError as error:
            yield Finding(error.outcome, f"{name}, made again from what is stored", str(error))
            continue
        different = differences(stored, data)
        if different:
            yield Finding("differs", f"{name}, made again from what is stored", different)
        else:
            yield Finding("agrees", f"{name}, made again from what is stored")
