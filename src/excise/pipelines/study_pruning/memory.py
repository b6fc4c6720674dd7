"""The most memory that one row took."""

from __future__ import annotations

import resource
from pathlib import Path

import torch

FORGET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")  # Linux alone lets a process forget its peak


def forget_peak() -> None:
    """What follows is measured on its own, where the system allows that; the process's peak stays elsewhere."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif FORGET.exists():
        FORGET.write_text("5")  # resets VmHWM


def peak_mb() -> float:
    """The most memory that this process has taken since it last forgot, on the device where it computes, in MiB."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    if FORGET.exists():
        kilobytes = next(line.split()[1] for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return round(int(kilobytes) / 1024, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
