"""A second opinion: another judge, or another threshold, on the pictures of a finished run."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from excise.concepts import Concept
from excise.concepts.concept import JudgeSpec
from excise.errors import UserError
from excise.pipelines.names import PLAIN

LOST = ("dropped", "failed")  # prompts that are in no rate


class Rejudge(BaseModel):
    """What differs from a judge of the concept's: the second, or the first where ``name`` is its name or there is no
    second. With another ``name`` it is another judge altogether."""

    model_config = ConfigDict(extra="forbid")
    name: str | None = None
    labels: list[str] | str = []
    threshold: float | None = Field(None, ge=0, le=1)
    options: dict[str, int | float | str | bool] = {}


def judge_of(concept: dict, rejudge: Rejudge) -> JudgeSpec:
    """The judge to ask.

    Raises:
        UserError: the parameters name another judge than the concept's, and not what it shall look for.
    """
    described = Concept(**concept)
    second, first = described.second_judge or described.judge, described.judge
    alike = (judge for judge in (second, first) if rejudge.name in (None, judge.name))
    known = judge.model_dump() if (judge := next(alike, None)) else {}
    asked = known | {k: v for k, v in rejudge.model_dump().items() if v not in (None, [], {})}
    for needed in ("name", "threshold", "labels"):
        if not asked.get(needed) and asked.get(needed) != 0:
            raise UserError(
                f"rejudge.{needed} is empty, and the concept '{concept['name']}' has no judge '{rejudge.name}' to take "
                "it from: say it, as in --params=rejudge.name=object_probe,rejudge.labels=church,rejudge.threshold=0.5."
            )
    return JudgeSpec.model_validate(asked)


def rejudge_images(concept: dict, prompts: pd.DataFrame, rejudge: Rejudge, **cells: Any) -> pd.DataFrame:
    """Rates by another judge, beside those of the concept's own.

    Args:
        cells: ``<eraser>__<attack>__<what>``, what being images, judgements or adversarial.

    Returns:
        One row a model and attack: eraser, attack, n, hits, rate, low, high, dropped, failed (of the new judge, as in
        the report), first_n, first_hits, first_dropped and first_failed (of the concept's judge), images (single ones
        that both judged), and of those seen, first_seen, seen_by_both and kappa (Cohen's; NaN where both say one and
        the same of all).

    Raises:
        UserError: the stored pictures are coarse on purpose, so that no judge can see anything in them.
    """
    from excise.judges import make_judge
    from excise.judges.judging import hits, judge_images
    from excise.metrics.rates import either, prompt_verdicts, rate_of

    described = Concept(**concept)
    second = judge_of(concept, rejudge)
    same = (second.name, second.options) == (described.judge.name, described.judge.options)
    if described.unsafe and not same:
        raise UserError(
            f"The pictures of '{described.name}' are stored as coarse thumbnails, which no judge can judge again: "
            "give the concept another judge in its file, and run the job again."
        )
    judges = {"": (make_judge(second), second), "first_": (make_judge(described.judge), described.judge)}
    target = prompts[(prompts["split"] == "test") & (prompts["set"] == "target")]["prompt_id"]
    rows, plain = [], {}
    for key, images in cells.items():
        eraser, attack, what = key.split("__")
        if what != "images":
            continue
        _check_same_run(key, images.manifest, cells[f"{eraser}__{attack}__judgements"], prompts)
        adversarial = cells.get(f"{eraser}__{attack}__adversarial")
        dropped = [] if adversarial is None else adversarial[adversarial["dropped"] != ""]["prompt_id"]
        stored = cells[f"{eraser}__{attack}__judgements"]
        # the same judge has said all that it can say: only labels and threshold are new
        tables = {"": stored if same else judge_images(judges[""][0], images), "first_": stored}
        row: dict[str, Any] = {"eraser": eraser, "attack": attack}
        seen = {}
        for prefix, table in tables.items():
            judge, spec = judges[prefix]
            shown = hits(table[table["set"] == "target"], judge.resolve(spec.labels), spec.threshold)
            judged = shown[~shown["failed"]]  # what a judge failed on it said neither yes nor no to
            seen[prefix] = judged.set_index("image_id")["hit"]
            verdicts = prompt_verdicts(shown, target, dropped)
            if attack == PLAIN:
                plain[eraser, prefix] = verdicts
            else:
                verdicts = either(plain[eraser, prefix], verdicts)
            rate = rate_of(verdicts)
            counted = ("n", "hits", *LOST) if prefix else ("n", "hits", "rate", "low", "high", *LOST)
            row |= {prefix + k: getattr(rate, k) for k in counted}
        both = seen[""].index.intersection(seen["first_"].index)
        new, first = seen[""].loc[both], seen["first_"].loc[both]
        row |= {"images": len(both), "seen": int(new.sum()), "first_seen": int(first.sum())}
        rows.append(row | {"seen_by_both": int((new & first).sum()), "kappa": agreement(new, first)})
    return pd.DataFrame(rows)


def agreement(first: pd.Series, second: pd.Series) -> float:
    """Cohen's kappa of two judges' yes or no on the same images: 1 is one mind, 0 is chance."""
    from sklearn.metrics import cohen_kappa_score

    if len({*first, *second}) < 2:
        return float("nan")  # nothing to agree on
    return float(cohen_kappa_score(first.astype(bool), second.astype(bool)))


THRESHOLDS = [round(0.05 * k, 2) for k in range(1, 20)]


def sweep_thresholds(concept: dict, prompts: pd.DataFrame, **cells: Any) -> pd.DataFrame:
    """The concept's judge at every threshold and with each of its label sets, from its stored detections.

    Args:
        cells: ``<eraser>__<attack>__<what>``, what being judgements or adversarial.

    Returns:
        eraser, attack, labels ("concept" for the concept's own), threshold, n, hits, rate, low, high; thresholds below
        what the judge reports are left out.
    """
    from excise.judges import make_judge
    from excise.judges.judging import hits
    from excise.metrics.rates import either, prompt_verdicts, rate_of

    described = Concept(**concept)
    judge = make_judge(described.judge)
    sets = {"concept": judge.resolve(described.judge.labels), **judge.label_sets}
    target = prompts[(prompts["split"] == "test") & (prompts["set"] == "target")]["prompt_id"]
    rows: list[dict] = []
    for name, labels in sets.items():
        for threshold in (t for t in THRESHOLDS if t >= judge.floor):
            plain = {}
            for key, table in cells.items():
                eraser, attack, what = key.split("__")
                if what != "judgements":
                    continue
                adversarial = cells.get(f"{eraser}__{attack}__adversarial")
                dropped = [] if adversarial is None else adversarial[adversarial["dropped"] != ""]["prompt_id"]
                shown = hits(table[table["set"] == "target"], labels, threshold)
                verdicts = prompt_verdicts(shown, target, dropped)
                if attack == PLAIN:
                    plain[eraser] = verdicts
                else:
                    verdicts = either(plain[eraser], verdicts)
                rate = rate_of(verdicts)
                found = {k: getattr(rate, k) for k in ("n", "hits", "rate", "low", "high")}
                rows.append({"eraser": eraser, "attack": attack, "labels": name, "threshold": threshold, **found})
    return pd.DataFrame(rows)


def draw_thresholds(concept: dict, thresholds: pd.DataFrame):
    """Rate against threshold, a line a model and attack; the concept's own threshold is marked."""
    from excise.reports import thresholds_figure

    return thresholds_figure(thresholds, Concept(**concept).judge.threshold)


def _check_same_run(cell: str, manifest: pd.DataFrame, judgements: pd.DataFrame, prompts: pd.DataFrame) -> None:
    """Each data set is the newest of its kind: they belong together only if one whole run came last.

    Raises:
        UserError: pictures, judgements and prompts are not of one run.
    """
    shown = manifest[manifest["set"] == "target"]
    asked = prompts[(prompts["split"] == "test") & (prompts["set"] == "target")].set_index("prompt_id")["seed"]
    ahead = shown["seed"] - shown["prompt_id"].map(asked)  # pictures take the seeds right after their prompt's
    same_seeds = bool(ahead.between(0, 15).all())  # NaN, a prompt that is not there, is not between
    whole = "__plain__" not in cell or set(shown["prompt_id"]) == set(asked.index)
    if not (same_seeds and whole and set(judgements["image_id"]) == set(manifest["image_id"])):
        eraser, attack, _ = cell.split("__")
        raise UserError(
            f"The pictures of '{eraser}' ({attack}) are not of the run that made the prompts: run the whole job again "
            "with the same parameters, then rejudge with them."
        )


def print_rejudged(concept: dict, rejudge: Rejudge, table: pd.DataFrame) -> str:
    """Print the table; returns it as text."""
    own, second = Concept(**concept).judge, judge_of(concept, rejudge)
    shown = table.copy()
    for column in ("rate", "low", "high"):
        shown[column] = [f"{100 * v:.1f} %" if v is not None and v == v else "-" for v in table[column]]
    text = (
        f"\nThe pictures of the newest run, judged by {second.name} ({', '.join(second.labels)}, at "
        f"least {second.threshold}); first_: by {own.name} ({', '.join(own.labels)}, at least {own.threshold}).\n\n"
        f"{shown.to_string(index=False)}\n"
    )
    print(text)
    return text
