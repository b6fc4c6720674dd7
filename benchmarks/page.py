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
        f"\nMeasured on: {'; '.join(machines)}, CPU, with as many threads as a row says. Seconds and ratios above are "
        "medians: of nine rounds of collecting, of five of scoring and solving, of three of all else. *Holds*: whether "
        "the median ratio is what is asked, though single rounds may lie above. *Peak MB*: the most memory that was "
        "resident while the stage ran once, model and libraries included. Bare, for an attack: U-Net forward and "
        "backward to the text states, without the text encoder, the optimiser or the projection; where it has images "
        "judged, drawing and judging these; where it trains weights, forward and backward to these. Without a ratio: "
        "what never asks the denoiser.\n",
        "Attacks are timed in 20 steps and fewer, with their methods' own options, which are not those of runs "
        "(UnlearnDiffAtk has 3 tokens where runs have 10, PEZ 5 and P4D 16 where they have 10, textual inversion 1 "
        "vector where they have 2, random tokens 5 where they have 10), and without judged images but for random "
        "tokens. Not timed: the attacks GCG, MMA, Ring-A-Bell, synonyms, seed search, img2img, quantising, merging, "
        "revival, and fine-tuning of a low-rank addition; the erasers AC, SalUn, RECE, STEREO, AdvUnlearn and "
        "ConceptPrune; judges but NudeNet; prompts, metrics, the report, and judging again.\n",
        *(_shared(row) for row in rows if row["stage"] == SHARED),
    ]
    return "\n".join(lines)


def _asked(row: dict) -> tuple[str, str]:
    limit = next((limit for start, limit in ASKED.items() if row["stage"].startswith(start)), None)
    if limit is None:
        return "–", "–"
    return f"at most {limit}", "yes" if row["ratio"] <= limit else "**no**"


def _shared(row: dict) -> str:
    """Loops beside each other; the ratio of their times says something only where the losses are equal."""
    columns = ("steps", "rows_a_step", "lr", "evaluations_a_step", "seconds", "seconds_a_step", "loss")
    lines = [
        "## ESD: trajectories sampled once, or at every step\n",
        f"All train the same weights on {row['prompts']} prompts, until the loss on rows that none trains on, "
        f"{row['loss_before']} before training, is {row['loss_asked']}. Sampling them once is counted. Threads: "
        f"{row['threads']}.\n",
        "| loop | steps | rows a step | learning rate | evaluations a step | seconds | seconds a step | loss at the "
        "end | reached |",
        "|" + "---|" * 9,
    ]
    for loop in row["loops"]:
        cells = [f"{loop[c]:g}" if c == "lr" else str(loop[c]) for c in columns]
        reached = "yes" if loop["reached"] else "**not reached**"
        lines.append(f"| {loop['loop']} | {' | '.join(cells)} | {reached} |")
    asked = "\nAsked: equal loss in less time, with as many rows a step. "
    if row["ratio"] is None:
        lines.append(f"{asked}**Not shown**: one of the two did not reach the loss, and has no time to it.")
    else:
        holds = "holds" if row["ratio"] < 1 else "does **not** hold"
        lines.append(f"{asked}The ratio of the seconds is {row['ratio']}: that {holds}.")
    once, naive = row["loops"][:2]
    share = naive["seconds_a_step"] and once["seconds_a_step"] / naive["seconds_a_step"]
    lines.append(
        f"A step of as many rows takes {share:.2f} of the naive loop's time and {once['evaluations_a_step']} model "
        f"evaluations in the place of {naive['evaluations_a_step']}. The naive loop learns where the student goes, and "
        "the loss is asked for where the base model goes: what it gets better at may not be seen there."
    )
    tried = ", ".join(f"{rate:g}" for rate in row["rates_tried_for_one_row"])
    lines.append(f"With one row a step: the better of {tried} in {row['trial_steps']} steps that are not counted.")
    return "\n".join(lines) + "\n"


def main() -> None:
    PAGE.write_text(page(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
