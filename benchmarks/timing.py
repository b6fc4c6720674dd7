"""Shared by all benchmarks: turns, medians, and the record."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

RESULTS = Path(__file__).parent / "results.json"


def in_turns(repeats: int, **functions: Callable[[], object]) -> dict[str, list[float]]:
    """Seconds of each function, one after the other in every round, so that a slow minute hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()  # the first call pays for what is set up once
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratios(seconds: dict[str, list[float]], of: str, to: str) -> tuple[float, float, float]:
    """Median, lowest and highest ratio of two functions, round by round."""
    found = [a / b for a, b in zip(seconds[of], seconds[to], strict=True)]
    return statistics.median(found), min(found), max(found)


def peak_mb(function: Callable[[], object]) -> float | None:
    """The most memory that is resident while a function runs once, model and libraries included; None where the system
    cannot forget an earlier peak (only Linux can)."""
    forget, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not forget.exists():
        return None
    forget.write_text("5")  # resets VmHWM
    function()
    kilobytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(kilobytes) / 1024, 1)


def record_over_bare(
    stage: str,
    seconds: dict[str, list[float]],
    what: str,
    function: Callable[[], object],
    prompts: int,
    evaluations: int,
    **more: object,
) -> None:
    """A stage of emoji64 beside its ``bare`` cost, from ``in_turns``; ``function`` runs once more for its memory."""
    ratio, low, high = ratios(seconds, what, "bare")
    record(
        stage,
        model="emoji64",
        prompts=prompts,
        seconds=round(statistics.median(seconds[what]), 3),
        model_evaluations=evaluations,
        bare_seconds=round(statistics.median(seconds["bare"]), 3),
        ratio=round(ratio, 3),
        ratio_range=[round(low, 3), round(high, 3)],
        **more,
        peak_mb=peak_mb(function),
    )


def record(stage: str, **figures: object) -> None:
    """Put a stage's figures into ``results.json``, in the place of older ones, and print them."""
    import torch

    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    machine = {"machine": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    row = {"stage": stage, **figures, **machine}
    kept = [r for r in rows if r["stage"] != stage]
    RESULTS.write_text(json.dumps(sorted([*kept, row], key=lambda r: r["stage"]), indent=1) + "\n")
    print(json.dumps(row, indent=1))
