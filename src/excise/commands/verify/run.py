"""All checks of one run."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from excise.provenance import NodeRecord, RunRecord, read_run

from ..jobs import Job, open_job, runs_folder, sentence_for
from .again import check_node
from .files import changed_files, check_files
from .finding import Finding
from .named import check_names
from .pictures import DRAWN, check_pictures, check_redrawn

# nodes that cost little beside what they look at
COUNTED = ("identify_model", "make_prompts", "summarise_run")
JUDGED = ("judge_concept", "judge_retain", "judge_typed", "measure_fidelity")


def verify_run(root: Path, run_id: str, rejudge: bool = True, redraw: int = 0) -> Iterator[Finding]:
    """All checks of one run, the cheap ones first.

    Args:
        rejudge: judge stored pictures again.
        redraw: how many pictures to draw again, on the device that drew them.
    """
    run, records = read_run(runs_folder(root), run_id)
    changed = changed_files(root, records)
    yield from check_files(root, records, changed)
    yield from check_names(root, run, records, changed)
    try:
        with open_job(root, run) as job:
            yield from _check_job(run, records, job, rejudge, redraw, changed)
    except Exception as error:  # parameters of then may be none of today's
        yield Finding("unchecked", "what is counted and judged", sentence_for(error))


def _check_job(
    run: RunRecord, records: list[NodeRecord], job: Job, rejudge: bool, redraw: int, changed: Collection[str]
) -> Iterator[Finding]:
    for record in records:
        name = record.node.rpartition(".")[2]
        if name not in (*COUNTED, *JUDGED):
            continue
        if name in JUDGED and not rejudge:
            continue
        yield from check_node(run, record, job, changed)
    if not rejudge:
        yield Finding("unchecked", "judgements", "nobody asked: --no-rejudge")
    drawn = [record for record in records if record.node.rpartition(".")[2] in DRAWN]
    for record in drawn:
        yield from check_pictures(record, job, changed)
    if redraw:
        yield from check_redrawn(run, records, job, redraw, changed)
    elif drawn:
        yield Finding("unchecked", "whether the same pictures are drawn again", "nobody asked: --redraw N")
