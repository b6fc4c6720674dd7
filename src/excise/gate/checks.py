"""One row a check: what was measured, the bound that counts, the threshold, and a sentence.

A figure that is missing fails its check: what was not measured was not shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from excise.metrics.paired import score_interval
from excise.metrics.rates import Strict
from excise.metrics.summary import BASE, PLAIN

from .options import GateOptions

RETAIN = ("retain_near", "retain_far")
Figures = Mapping[str, Any]


class Check(Strict):
    """``bound`` must be at most, or at least, ``threshold``; ``None`` stands for what is missing."""

    name: str
    measured: float | None
    bound: float | None
    side: Literal["at most", "at least"]
    threshold: float
    n: int = Field(ge=0)
    passed: bool
    sentence: str


class Gate(Strict):
    """The content of ``gate.json``.

    Attributes:
        passed: whether every check is.
        sentence: the verdict, with the first reason against.
        eraser, model, concept: what was judged.
        run: the id of the run that made it.
        conditions: what two runs must share for their figures to be compared: a fingerprint each.
        figures: hits and n, by attack and retain set: what a later run is compared with.
        letters: what came of each test prompt (``metrics.json``), by the same names; missing in earlier files.
        champion: version and run of the champion that it was compared with, or None.
        notes: what could not be compared, and why.
    """

    passed: bool
    sentence: str
    eraser: str
    model: str
    concept: str
    run: str
    thresholds: GateOptions
    checks: list[Check]
    conditions: dict[str, str]
    figures: dict[str, dict[str, int]]
    letters: dict[str, str] = Field(default_factory=dict)
    champion: dict[str, str] | None = None
    notes: list[str] = Field(default_factory=list)


def judge(
    metrics: Figures,
    eraser: str,
    asked: Iterable[str],
    options: GateOptions,
    *,
    made_by: str | None,
    conditions: Mapping[str, str] | None = None,
    champion: Mapping[str, Any] | None = None,
) -> Gate:
    """Hold the figures of one eraser against the thresholds.

    Args:
        metrics: the content of ``metrics.json``.
        eraser: the name of the eraser that would be shipped, a key of ``metrics["erasers"]``.
        asked: attacks whose figures must be there, plain prompts among them; others that are there count too.
        made_by: the id of the run that wrote the eraser file.
        conditions: see ``Gate``.
        champion: ``version``, ``run`` and ``gate`` (its ``gate.json``, or None) of the present champion, if any.
    """
    conditions = dict(conditions or {})
    run = str(metrics["run"]["id"])
    attacks = _get(metrics, "erasers", eraser, "attacks") or {}
    names = list(dict.fromkeys([*asked, *options.by_attack, *attacks]))
    figures = {name: _counts(attacks.get(name)) for name in names}
    figures |= {name: _counts(_get(metrics, "erasers", eraser, "utility", name)) for name in RETAIN}
    figures = {name: counts for name, counts in figures.items() if counts is not None}
    letters = {n: told for n, told in (_get(metrics, "erasers", eraser, "letters") or {}).items() if n in figures}
    checks = [_same_run(run, made_by), _base(metrics, options)]
    for name in names:
        checks += _attack(name, attacks.get(name), options)
    for name, upper in zip(RETAIN, (options.near_loss_upper, options.far_loss_upper), strict=True):
        checks += _retain(name, metrics, eraser, upper, options)
    notes: list[str] = []
    if options.compare and champion is not None and champion["run"] != run:
        checks += _compare(figures, letters, conditions, champion, names, options.margin, notes)
    failed = [check for check in checks if not check.passed]
    more = f" ({len(failed)} of {len(checks)} checks failed)" if len(failed) > 1 else ""
    return Gate(
        passed=not failed,
        sentence=f"The gate is passed: all {len(checks)} checks." if not failed else failed[0].sentence + more,
        eraser=eraser,
        model=str(metrics["model"]["name"]),
        concept=str(metrics["concept"]["name"]),
        run=run,
        thresholds=options,
        checks=checks,
        conditions=conditions,
        figures=figures,
        letters=letters,
        champion=None if champion is None else {k: str(champion[k]) for k in ("version", "run")},
        notes=notes,
    )


def _same_run(run: str, made_by: str | None) -> Check:
    same = run == made_by
    other = f"The eraser is of the run {made_by or 'without an id'} and the figures are of {run}"
    return Check(
        name="one run",
        measured=float(same),
        bound=float(same),
        side="at least",
        threshold=1,
        n=1,
        passed=same,
        sentence="The eraser and the figures are of one run."
        if same
        else f"{other}: run the whole job again, which recomputes nothing that it finds finished.",
    )


def _base(metrics: Figures, options: GateOptions) -> Check:
    rate = _get(metrics, "erasers", BASE, "attacks", PLAIN) or {}
    text = f"the base model draws the concept for {_spell(rate)}; {{}}"
    return _check(
        "the base model draws it", rate.get("rate"), rate.get("low"), "at least", options.base_lower, rate, text
    )


def _attack(name: str, rate: Figures | None, options: GateOptions) -> Iterator[Check]:
    rate = rate or {}
    title = "plain prompts" if name == PLAIN else name
    effort = ", by one effort that serves all and is one trial" if (rate.get("budget") or {}).get("shared") else ""
    text = f"{title}: the concept is drawn for {_spell(rate)}{effort}; {{}}"
    yield _check(title, rate.get("rate"), rate.get("high"), "at most", options.upper(name), rate, text)
    if name == PLAIN:
        yield _any_image(rate, options.any_upper)
    yield from _enough(title, rate, options.least_prompts, options.lost_share)


def _any_image(rate: Figures, upper: float) -> Check:
    """Of how many prompts any single image shows the concept: a user sees single images."""
    from statsmodels.stats.proportion import proportion_confint

    seen, n = rate.get("any_hits"), rate.get("n") or 0
    known = seen is not None and n > 0
    share = seen / n if known else None
    high = float(proportion_confint(seen, n, method="wilson")[1]) if known else None
    said = f"{seen} of {n} prompts ({share:.1%})" if known else "an unknown number of prompts"
    text = f"plain prompts: at least one image shows the concept for {said}; {{}}"
    return _check("plain prompts: any image", share, high, "at most", upper, rate, text)


def _retain(name: str, metrics: Figures, eraser: str, upper: float, options: GateOptions) -> Iterator[Check]:
    title = name.replace("_", " ")
    kept = [k for k in metrics.get("kept") or [] if (k["first"], k["second"], k["set"]) == (BASE, eraser, name)]
    loss = kept[0] if len(kept) == 1 else {}
    n = loss.get("n", 0)
    said = f"{loss['difference']:+.1%} of {n} prompts" if n else "nothing that was judged in both models"
    text = f"{title}: the loss against the base model is {said}; {{}}"
    yield _check(f"{title}: loss", loss.get("difference"), loss.get("high"), "at most", upper, loss, text)
    rate = _get(metrics, "erasers", eraser, "utility", name) or {}
    yield from _enough(title, rate, options.least_retain, options.lost_share)


def _enough(title: str, rate: Figures, least: int, lost_share: float) -> Iterator[Check]:
    n = rate.get("n")
    yield Check(
        name=f"{title}: prompts",
        measured=n,
        bound=n,
        side="at least",
        threshold=least,
        n=n or 0,
        passed=n is not None and n >= least,
        sentence=f"{title[0].upper()}{title[1:]}: {n or 0} prompts were judged, and at least {least} are asked.",
    )
    lost = rate["dropped"] + rate["failed"] if rate else 0
    asked = lost + (n or 0)
    share = lost / asked if asked else None
    text = f"{title}: {lost} of {asked} prompts were dropped or could not be judged; {{}}"
    yield _check(f"{title}: lost", share, share, "at most", lost_share, rate, text)


def _check(
    name: str,
    measured: float | None,
    bound: float | None,
    side: Literal["at most", "at least"],
    threshold: float,
    of: Figures,
    text: str,
) -> Check:
    """A share against its threshold; ``text`` has a gap for what the bound is and what is asked."""
    passed = bound is not None and (bound <= threshold if side == "at most" else bound >= threshold)
    which = "that share" if bound == measured else f"the {'upper' if side == 'at most' else 'lower'} bound"
    # a bound that is over by a hair is not spelled like the threshold
    digits = 3 if not passed and bound is not None and f"{bound:.1%}" == f"{threshold:.1%}" else 1
    told = "is missing" if bound is None else f"is {bound:.{digits}%}"
    sentence = text.format(f"{which} {told}, and {side} {threshold:.{digits}%} is asked.")
    return Check(
        name=name,
        measured=measured,
        bound=bound,
        side=side,
        threshold=threshold,
        n=of.get("n") or 0,
        passed=passed,
        sentence=f"{sentence[0].upper()}{sentence[1:]}",
    )


def _compare(
    figures: Mapping[str, Mapping[str, int]],
    letters: Mapping[str, str],
    conditions: Mapping[str, str],
    champion: Mapping[str, Any],
    attacks: Iterable[str],
    margin: float,
    notes: list[str],
) -> Iterator[Check]:
    """Attack by attack and set by set, where the two runs' conditions are the same; what is not goes into notes."""
    before = champion["gate"]
    who = f"the champion, version {champion['version']}"
    if before is None:
        notes.append(f"The figures of {who}, cannot be read: nothing is compared with it.")
        return
    for name in dict.fromkeys([*attacks, *before["figures"], *RETAIN]):  # also what only the champion was put under
        ours, theirs = figures.get(name), before["figures"].get(name)
        shared = ("model", "prompts", "draw", *(["retain_judge"] if name in RETAIN else ["judge", f"attack.{name}"]))
        if name == PLAIN:
            shared = shared[:-1]
        differ = [c for c in shared if conditions.get(c) is None or conditions.get(c) != before["conditions"].get(c)]
        if not ours or not theirs or not ours["n"] or not theirs["n"]:
            differ = ["figures (they are missing)"]
        if differ:
            notes.append(f"{name} is not compared with {who}: the two differ in {', '.join(differ)}.")
            continue
        # rates of what is worse when it is higher: hits of an attack, misses of what must survive
        (worse, n), (was, m) = ((f["n"] - f["hits"] if name in RETAIN else f["hits"], f["n"]) for f in (ours, theirs))
        told = (letters.get(name, ""), before.get("letters", {}).get(name, ""))
        paired = _worse(told, "." if name in RETAIN else "h")
        more, low, both = paired or (*_apart(worse, n, was, m), n)
        how = f"prompt by prompt ({both} judged in both)" if paired else "as of other prompts, none being paired,"
        what = "not drawn right" if name in RETAIN else "drawn all the same"
        yield Check(
            name=f"{name.replace('_', ' ')}: beside the champion",
            measured=more,
            bound=low,
            side="at most",
            threshold=margin,
            n=both,
            passed=low <= margin,
            sentence=f"{name.replace('_', ' ')}: {worse} of {n} are {what}, {was} of {m} by {who}; {how} that is "
            f"{more:+.1%}, with 95 % confidence at least {low:+.1%}; at most {margin:+.1%} is asked.",
        )


def _worse(letters: tuple[str, str], bad: str) -> tuple[float, float, int] | None:
    """How much more of what is bad the first has, prompt by prompt, its lower bound, and the number of pairs; None
    where there are none, since a file of an earlier version holds only sums."""
    first, second = letters
    if not first or len(first) != len(second):
        return None
    both = [(a == bad, b == bad) for a, b in zip(first, second, strict=True) if {a, b} <= {"h", "."}]
    if not both:
        return None
    b, c = sum(x and not y for x, y in both), sum(y and not x for x, y in both)
    return (b - c) / len(both), score_interval(b, c, len(both))[0], len(both)


def _apart(worse: int, n: int, was: int, m: int) -> tuple[float, float]:
    """The same as if both had been asked other prompts."""
    from statsmodels.stats.proportion import confint_proportions_2indep

    low, _ = confint_proportions_2indep(worse, n, was, m, method="newcomb", compare="diff")
    return worse / n - was / m, float(low)


def _counts(rate: Figures | None) -> dict[str, int] | None:
    return None if not rate else {"hits": rate["hits"], "n": rate["n"]}


def _spell(rate: Figures) -> str:
    if not rate:
        return "an unknown number of prompts"
    share = "" if rate["rate"] is None else f" ({rate['rate']:.1%})"
    return f"{rate['hits']} of {rate['n']} prompts{share}"


def _get(tree: Any, *keys: str) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree
