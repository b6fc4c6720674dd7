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
        "medians: of nine rounds of collecting, of five of scoring, solving and what asks no network, of three of "
        "all else. *Holds*: whether the median ratio is what is asked, though single rounds may lie above. *Peak MB*: "
        "the most memory that was "
        "resident while the stage ran once, model and libraries included. Bare, for an attack: U-Net forward and "
        "backward to the text states, without the text encoder, the optimiser or the projection; where it has images "
        "judged, drawing and judging these; where it works on the text encoder, that one's evaluations, which are then "
        "counted. Bare, where weights are trained: what U-Net and text encoder are asked, forward and backward to what "
        "is learned. Without a ratio: what never asks the denoiser.\n",
        "Attacks are timed in 20 steps and fewer, with their methods' own options, which are not those of runs "
        "(UnlearnDiffAtk has 3 tokens where runs have 10, PEZ 5 and P4D 16 where they have 10, textual inversion 1 "
        "vector where they have 2, random tokens 5 where they have 10), and without judged images but where a row says "
        "so. Erasers are trained in 5 steps, with inner attacks of 5. Prompts, metrics, the report and judging "
        "again by another threshold ask no network: timed with four models, plain and attacked, on made-up judgements. "
        "Pictures are compared with the base model's by what a run does after drawing: features, CLIP score, distances "
        "and another domain's judge; bare is loading these networks and asking each as often. Not timed: judges that a "
        "hub has, LPIPS, and audits and retraining, which are made of the stages above.\n",
        *(_shared(row) for row in rows if row["stage"] == SHARED),
    ]
    return "\n".join(lines)


def _asked(row: dict) -> tuple[str, str]:
    limit = next((limit for start, limit in ASKED.items() if row["stage"].startswith(start)), None)
    if limit is None or "ratio" not in row:  # nothing is asked of what asks no network
        return "–", "–"
    return f"at most {limit}", "yes" if row["ratio"] <= limit else "**no**"


TOLD = ("loss_before", "loss_asked")
PLACES = {"base": "on the base model's trajectories", "own": "on the student's own"}


def _shared(row: dict) -> str:
    """Loops beside each other; the ratio of their times says something only where the losses are equal."""
    before, asked = (", ".join(f"{row[what][p]} {words}" for p, words in PLACES.items()) for what in TOLD)
    heads = ["loop", "rows a step", "learning rate", "evaluations a step", "seconds a step", *PLACES.values()]
    lines = [
        "## ESD: trajectories sampled once, or at every step\n",
        f"All train the same weights on {row['prompts']} prompts, until the loss on rows that none trains on has come "
        f"down by half: before training it is {before}, asked is {asked}. The first loop learns on the base model's "
        "trajectories, sampled once, which is counted; a naive one samples the base model or the student as it is then "
        "anew for every row of every step. "
        f"Threads: {row['threads']}.\n",
        f"| {' | '.join(heads)} |",
        "|" + "---|" * len(heads),
    ]
    for loop in row["loops"]:
        cells = [loop["loop"], loop["rows_a_step"], f"{loop['lr']:g}", loop["evaluations_a_step"]]
        cells += [loop["seconds_a_step"], *(_reached(loop, place) for place in PLACES)]
        lines.append(f"| {' | '.join(str(c) for c in cells)} |")
    lines.append(
        "\nAsked: equal loss in less time, with as many rows a step, where the naive loop learns in the same place.\n"
    )
    for place, words in PLACES.items():
        ratio = row["ratios"][place]
        if ratio is None:
            lines.append(f"- {words}: **not shown**, one of the two did not reach the loss, and has no time to it.")
        else:
            holds = "holds" if ratio < 1 else "does **not** hold"
            lines.append(f"- {words}: the ratio of the seconds is {ratio}, that {holds}.")
    if all(loop["loss"]["own"] > row["loss_before"]["own"] for loop in row["loops"]):
        lines.append(
            "\nOn the student's own trajectories the loss ends higher than it began in every loop: where the student "
            "goes moves as it learns, and what is asked of it there with it, so that none can be held to a loss there."
        )
    naive = next(loop for loop in row["loops"] if loop["learns"] == "base")
    once, there = (loop["reached"]["base"] for loop in (row["loops"][0], naive))
    if once and there:  # of one loss, and what is sampled once is shared by the steps up to it
        share = (once["seconds"] / once["steps"]) / (there["seconds"] / there["steps"])
        lines.append(
            f"\nUp to that loss a step of as many rows takes {share:.2f} of the time of the naive loop on the base "
            f"model, and {once['model_evaluations'] / once['steps']:.1f} model evaluations in the place of "
            f"{there['model_evaluations'] / there['steps']:.1f}, what was sampled once among them; the table's are "
            "over all steps that a loop ran."
        )
    tried = ", ".join(f"{rate:g}" for rate in row["rates_tried_for_one_row"])
    lines.append(f"With one row a step: the better of {tried} in {row['trial_steps']} steps that are not counted.")
    return "\n".join(lines) + "\n"


def _reached(loop: dict, place: str) -> str:
    there = loop["reached"][place]
    if there:
        return f"{there['steps']} steps, {there['seconds']} s"
    return f"**not reached** in {loop['steps']} steps, {loop['loss'][place]}"


def main() -> None:
    PAGE.write_text(page(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
