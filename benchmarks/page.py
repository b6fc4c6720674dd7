"""``docs/performance.md`` from ``results.json``."""

from __future__ import annotations

import json
from pathlib import Path

from timing import RESULTS

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
ASKED = {"attack ": 1.25, "collecting ": 1.15}  # beginning of a stage -> the highest ratio that is asked for
SHARED = "ESD from shared trajectories"  # compares two ways to one loss, and no stage with its evaluations


def page(rows: list[dict]) -> str:
    """What each stage costs, what is asked of it and whether that holds, from ``results.json`` alone."""
    lines = [
        "# Performance\n",
        "What each stage costs over the bare model evaluations that it makes, measured in turns within one run: the "
        "ratio is what to read, seconds are one machine's. Written by `make bench`, from `benchmarks/results.json`.\n",
        "| stage | prompts or rows | seconds | model evaluations | bare seconds | ratio | lowest to highest | asked "
        "| holds | peak MB | threads |",
        "|" + "---|" * 11,
    ]
    for row in (r for r in rows if r["stage"] != SHARED):
        span = " to ".join(map(str, row["ratio_range"])) if "ratio_range" in row else "–"
        cells = [row.get(k, "–") for k in ("stage", "prompts", "seconds", "model_evaluations", "bare_seconds", "ratio")]
        cells += [span, *_asked(row), row.get("peak_mb", "–"), row["threads"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    machines = sorted({f"{r['machine']}, torch {r['torch']}" for r in rows})
    lines += [
        f"\nMeasured on: {'; '.join(machines)}, CPU, with as many threads as a row says. *Holds*: whether the median "
        "ratio is what is asked. *Peak MB*: the most memory that was resident while the stage ran once, model and "
        "libraries included. Bare, for an attack: U-Net forward and backward to the text states, without the text "
        "encoder, the optimiser or the projection.\n",
        *(_shared(row) for row in rows if row["stage"] == SHARED),
    ]
    return "\n".join(lines)


def _asked(row: dict) -> tuple[str, str]:
    limit = next((limit for start, limit in ASKED.items() if row["stage"].startswith(start)), None)
    if limit is None:
        return "–", "–"
    return f"at most {limit}", "yes" if row["ratio"] <= limit else "**no**"


def _shared(row: dict) -> str:
    """Two loops beside each other; the ratio of their times says something only where the losses are equal."""
    reached = "yes" if row["naive_reached_it"] else "**not reached**"
    loops = {
        "trajectories sampled once": [row["steps"], row["rows_a_step"], *_told(row, ""), "yes"],
        "naive: a trajectory of the student a step": [row["naive_steps"], 1, *_told(row, "naive_"), reached],
    }
    lines = [
        "## ESD: trajectories sampled once, or one a step\n",
        f"Both train the same weights on {row['prompts']} prompts, until the loss on rows that neither trains on, "
        f"{row['loss_before']} before training, is {row['loss_asked']}. Threads: {row['threads']}.\n",
        "| loop | steps | rows a step | evaluations a step | seconds | seconds a step | loss at the end | reached |",
        "|" + "---|" * 8,
        *(f"| {title} | {' | '.join(map(str, cells))} |" for title, cells in loops.items()),
    ]
    if row["naive_reached_it"]:
        holds = "holds" if row["ratio"] < 1 else "does **not** hold"
        lines.append(f"\nAsked: equal loss in less time. The ratio of the seconds is {row['ratio']}: that {holds}.")
    else:
        worse = row["naive_loss"] > row["loss_before"]
        lines.append(
            "\nAsked: equal loss in less time. **Not shown**: the naive loop did not reach the loss"
            + (" and ended worse than it began, for which its learning rate may be to blame" if worse else "")
            + ". Its time is no time to that loss, so that there is no ratio."
        )
    if "naive_lr" in row:
        tried = ", ".join(f"{rate:g}" for rate in row["naive_lrs_tried"])
        lines.append(
            f"Learning rates: {row['lr']:g} for {row['rows_a_step']} rows a step; {row['naive_lr']:g} for one, "
            f"which was best of {tried} in {row['naive_trial_steps']} steps that are not counted."
        )
    return "\n".join(lines) + "\n"


def _told(row: dict, whose: str) -> list:
    return [row[whose + k] for k in ("evaluations_a_step", "seconds", "seconds_a_step", "loss")]


def main() -> None:
    PAGE.write_text(page(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
