"""A row's peak memory is its own, where the system allows that."""

from __future__ import annotations

from pathlib import Path

FORGET = Path("/proc/self/clear_refs")  # Linux alone lets a process forget its peak


def forget_peak() -> None:
    """What the process takes from here on is measured from what it holds now."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif FORGET.exists():
        FORGET.write_text("5")  # resets VmHWM, and with it what getrusage tells
