"""MLflow runs whose process was killed: nothing told the store, which shows them as running for ever.

A run notes the process that made it; the next run of the same machine closes those whose process is gone.
"""

from __future__ import annotations

import socket
from typing import Any

HOST, PROCESS = "excise.host", "excise.process"
MOST = 100  # runs that are looked at
SAME = 60.0  # seconds: the clock that tells when a process began is set right from time to time


def process_tags() -> dict[str, str]:
    """This machine and this process; the time of its start tells it from a later one with the same number."""
    import psutil

    return {HOST: socket.gethostname(), PROCESS: _told(psutil.Process())}


def close_left_over(client: Any, experiment_id: str) -> int:
    """Mark as killed what this machine's processes left running, and say how many runs that were."""
    ours = f"attributes.status = 'RUNNING' and tags.`{HOST}` = '{socket.gethostname()}'"
    runs = client.search_runs([experiment_id], ours, max_results=MOST)
    gone = [run for run in runs if not _lives(run.data.tags.get(PROCESS, ""))]
    for run in gone:
        client.set_terminated(run.info.run_id, "KILLED")
    return len(gone)


def _told(process: Any) -> str:
    return f"{process.pid} of {process.create_time():.0f}"


def _lives(told: str) -> bool:
    import psutil

    pid, _, began = told.partition(" of ")
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(began)) < SAME
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # it is there
        return True
