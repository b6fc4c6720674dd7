"""Puts the README's tables between their marks, from what runs have written: `make readme`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from excise.metrics.several import holm_of_known
from excise.metrics.summary import Metrics
from excise.pipelines.study_pruning.short import short_table
from excise.pipelines.study_pruning.tables import own_rows
from excise.reports.words import BASE, PLAIN, attack_label, eraser_label, spell_p

ROOT = Path(__file__).parent
METRICS = "data/08_reporting/emoji64/person/metrics.json"  # a folder of versions
RUN = "docs/erase_nsfw.json"
CORE = ("unpruned", "plus", "learned", "learned_alone")  # of a study's variants; the others are in docs/results.md


def main() -> None:
    readme = ROOT / "README.md"
    versions = sorted((ROOT / METRICS).glob("*/metrics.json"))
    if not versions:
        sys.exit("There is no run yet: make run")
    told = Metrics.model_validate_json(versions[-1].read_text())
    if not {"ac", "p_ac"} <= set(told.erasers) or (told.run.seed, told.budget) != (1, "quick"):
        sys.exit(f"The newest run, {told.run.id}, is not the README's: run `kedro run --pipeline=erase_nsfw` as it is.")
    readme.write_text(placed(with_study(readme.read_text()), "erase_nsfw", erasure_tables(told)))
    (ROOT / RUN).write_text(versions[-1].read_text())  # so that whoever reads the tables can hold them to their source


def with_study(page: str) -> str:
    """The page with the study's table, made anew from the rows that are committed."""
    return placed(page, "study_pruning", short_table(core_rows(json.loads((ROOT / "docs/results.json").read_text()))))


def core_rows(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Of a study's own rows those of the erasers of three trainings, and of the models beside them."""
    own = own_rows([row for row in rows if row["variant"] in CORE])
    thrice = own[own["seed"] > 1]["eraser"].unique()
    return own[(own["seed"] == 0) | own["eraser"].isin(thrice)]


def placed(text: str, name: str, table: str) -> str:
    """A page with another table between the marks of a name."""
    pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"the page has no table, or several, called {name}")
    return pattern.sub(lambda m: m[1] + table.rstrip("\n") + "\n" + m[2], text)


def erasure_tables(m: Metrics) -> str:
    """Rates, the judge's false alarms and the mask, and both tables of paired differences."""
    lines = [
        "| model | prompts | hits / n | rate | 95 % interval | at least one image | dropped, failed "
        "| retain near | retain far |",
        "|" + "---|" * 9,
    ]
    for name, eraser in m.erasers.items():
        for attack, rate in eraser.attacks.items():
            kept = [eraser.utility.retain_near, eraser.utility.retain_far] if attack == PLAIN else []
            near, far = [f"{r.hits} / {r.n}" for r in kept] or ["", ""]
            lines.append(
                f"| {model_name(name)} | {prompts_name(attack)} | {rate.hits} / {rate.n} | {percent(rate.rate)} | "
                f"{span(rate)} | {rate.any_hits} / {rate.n} | {rate.dropped}, {rate.failed} | {near} | {far} |"
            )
    masked, pruned = next((n, e) for n, e in m.erasers.items() if n.startswith("p_"))
    single = m.detector.singles
    assert single is not None and pruned.prune_rate is not None
    lines += [
        "",
        "The detector's false alarms on the unedited model's harmless twins of these prompts, by the same rule: "
        f"{m.detector.hits} / {m.detector.n} ({percent(m.detector.rate)}, {span(m.detector)}); in single images of "
        f"what must survive {single.hits} / {single.n}. The mask of {model_name(masked)} prunes "
        f"{percent(pruned.prune_rate)} of the weights below it and takes {pruned.mask_bytes:,} bytes, the weights that "
        "were trained beside it not counted. Paired differences, first minus second (*Holm*: p, corrected for the "
        "number of comparisons in the table):",
        "",
        *differences([(prompts_name(p.attack), p) for p in m.paired], "asked with"),
        "",
        "What it cost: prompts about other things that are still drawn right, first minus second:",
        "",
        *differences([(p.set.replace("_", " "), p) for p in m.kept], "prompts"),
    ]
    return "\n".join(lines)


def differences(pairs: list[tuple[str, Any]], head: str) -> list[str]:
    """A line a pair: its difference in points, interval, exact p, and p corrected for the table's number of pairs."""
    lines = [f"| {head} | first | second | difference | 95 % interval | p (McNemar) | Holm |", "|" + "---|" * 7]
    corrected = holm_of_known([d.p_value for _, d in pairs])
    for (asked, d), p in zip(pairs, corrected, strict=True):
        lines.append(
            f"| {asked} | {model_name(d.first)} | {model_name(d.second)} | {100 * d.difference:+.1f} points | "
            f"{100 * d.low:+.1f} to {100 * d.high:+.1f} | {spell_p(d.p_value)} | {spell_p(p)} |"
        )
    return lines


def model_name(eraser: str) -> str:
    if eraser == BASE:
        return "base model"
    return eraser_label(eraser) + (" (control)" if eraser.endswith("_plus") else "")


def prompts_name(attack: str) -> str:
    return "plain prompts" if attack == PLAIN else attack_label(attack)


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def span(rate: Any) -> str:
    return "–" if rate.low is None else f"{100 * rate.low:.1f} % to {100 * rate.high:.1f} %"


if __name__ == "__main__":
    main()
