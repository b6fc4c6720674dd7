"""``docs/performance.md`` from ``results.json``."""

from __future__ import annotations

import json
from pathlib import Path

from timing import RESULTS

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"


def main() -> None:
    rows = json.loads(RESULTS.read_text())
    lines = [
        "# Performance\n",
        "What each stage costs over the bare model evaluations that it makes, measured in turns within one run: the "
        "ratio is what to read, seconds are one machine's. Written by `make bench`, from `benchmarks/results.json`.\n",
        "| stage | prompts or rows | seconds | model evaluations | bare seconds | ratio | lowest to highest | peak MB "
        "| threads |",
        "|" + "---|" * 9,
    ]
    for row in rows:
        span = " to ".join(map(str, row["ratio_range"])) if "ratio_range" in row else "–"
        cells = [row.get(k, "–") for k in ("stage", "prompts", "seconds", "model_evaluations", "bare_seconds", "ratio")]
        lines.append("| " + " | ".join(map(str, [*cells, span, row.get("peak_mb", "–"), row["threads"]])) + " |")
    machines = sorted({f"{r['machine']}, torch {r['torch']}" for r in rows})
    lines += [
        f"\nMeasured on: {'; '.join(machines)}, CPU. *Peak MB*: the most memory that the benchmark's process had taken "
        "by then, model and libraries included. Bare, for an attack: U-Net forward and backward to the text states, "
        "without the text encoder, the optimiser or the projection. *ESD from shared trajectories*: the ratio is of "
        "whole seconds, to the naive loop at the same loss or after ten times as many steps.\n"
    ]
    PAGE.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
