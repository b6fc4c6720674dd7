"""MLflow runs whose process was killed: nothing told the store, which shows them as running for ever.

A run notes the process that made it; the next run of the same machine closes those whose process is gone.
"""

from __future__ import annotations

import socket
from typing import Any

HOST, PROCESS = "excise.host", "excise.process"
MOST = 100  # runs that are looked at


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
    return f"{process.pid} of {process.create_time():.2f}"


def _lives(told: str) -> bool:
    import psutil

    try:
        return _told(psutil.Process(int(told.partition(" ")[0]))) == told
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
