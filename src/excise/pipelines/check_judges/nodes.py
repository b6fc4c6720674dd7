"""Every concept's judges on pictures of which it is known what they show."""

from __future__ import annotations

import pandas as pd

from excise.cache import Cache
from excise.concepts import load_concept
from excise.errors import UserError
from excise.pipelines.report.nodes import seen_once


def check_judges(concepts: dict, known_pictures: str | None, cache: Cache) -> pd.DataFrame:
    """How often each judge errs, and how often two judges of a concept agree.

    Returns:
        One row a concept, judge and group of pictures: concept, judge, labels, threshold, then as ``errors_of``; and
        ``kappa``, Cohen's, with the concept's other judge on the ``both`` pictures that neither failed on (NaN where
        there is none).

    Raises:
        UserError: there are no known pictures.
    """
    from excise.metrics.judge_errors import errors_of, load_known, words_for
    from excise.models import find_folder
    from excise.pipelines.rejudge.nodes import agreement

    if known_pictures is None:
        raise UserError("known_pictures is null: point it to a folder of pictures with a labels.csv.")
    known = load_known(find_folder(known_pictures))
    tables = []
    for name in concepts:
        concept = load_concept(name, concepts)
        specs = [spec for spec in (concept.judge, concept.second_judge) if spec is not None]
        seen = [seen_once(spec, known, cache) for spec in specs]
        both = pd.concat(seen, axis=1).dropna()
        kappa = agreement(both[0], both[1]) if len(specs) > 1 else float("nan")
        for spec, verdicts in zip(specs, seen, strict=True):
            errors = errors_of(verdicts, words_for(spec, name), known)
            about = {"concept": name, "judge": spec.name, "labels": " ".join(spec.labels), "threshold": spec.threshold}
            agreed = {"kappa": kappa, "both": len(both)}
            tables.append(errors.assign(**about, **agreed)[[*about, *errors.columns, *agreed]])
    return pd.concat(tables, ignore_index=True)


def write_judges(errors: pd.DataFrame, run_info: dict) -> str:
    """``docs/judges.md``; also printed."""
    from excise.reports.words import errors as errors_label
    from excise.reports.words import percent

    def share(wrong: int, n: int, subjects: int, low: float, high: float) -> str:
        return f"{errors_label(wrong, n, subjects)} ({percent(low)} to {percent(high)})" if n else "none there"

    head = (
        "| concept | judge, at least | pictures | of the concept, overlooked | of other things, taken for it | failed |"
    )
    lines = [head, "|---|---|---|---|---|---|"]
    for row in errors.to_dict("records"):
        missed = share(row["missed"], row["shown"], row["shown_subjects"], row["miss_low"], row["miss_high"])
        alarms = share(row["alarms"], row["others"], row["other_subjects"], row["alarm_low"], row["alarm_high"])
        who = f"{row['judge']} ({row['labels']}), {row['threshold']}"
        lines.append(f"| {row['concept']} | {who} | {row['group']} | {missed} | {alarms} | {row['failed']} |")
    agreed = errors.dropna(subset="kappa").drop_duplicates("concept")
    kappas = [
        f"Cohen's kappa of the two judges of `{r.concept}`: {r.kappa:.2f}, over {r.both} pictures."
        for r in agreed.itertuples()
    ]
    table = "\n".join(lines)
    print(f"\n{table}\n\n" + "\n".join(kappas) + "\n")
    return PAGE.format(command=run_info["command"], table=table, kappas=" ".join(kappas))


PAGE = """# How often the judges err

Written by `{command}`. Pictures of which it is known what they show (`known_pictures`; those
that ship, `embedded:known`, are the art of emoji64's world, painted anew, and other drawings by the same hands), shown
to the judges of every concept, with 95 % intervals (Wilson, over subjects: one drawing on several grounds is one). They
are not what an erased model draws: a judge may do better or worse there, and no rate anywhere is corrected by them.

{table}

{kappas}

The probes were fitted on the drawings of emoji64's world, so that of the pictures that ship only the other drawings say
how they fare on what they have not seen.
"""
