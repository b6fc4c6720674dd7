"""``metrics.json``: everything that was measured, in one file that is the same for the same seed and machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from pydantic import Field

from excise.provenance.made_of import MadeOf

from .cross_domain import CrossRate
from .likeness import Likeness
from .lpips import Perceptual
from .paired import Kept, Paired, paired_difference
from .rates import Rate, Strict, rate_of
from .utility import Utility

DIGITS = 6
LETTERS = {"hit": "h", "clear": ".", "failed": "f", "dropped": "d"}
BASE, PLAIN = "none", "plain"


class Model(Strict):
    name: str
    sha256: str


class ConceptInfo(Strict):
    name: str
    kind: str


class Budget(Strict):
    """What an attack spent over all prompts of one eraser.

    ``model_evaluations`` are the attack's own, ``sampling_evaluations`` (missing in files of earlier versions) drew the
    images that it had judged on its way; ``images`` are those and the ones that its rate is counted on. ``shared``
    (missing in files of earlier versions): one effort, such as a learned word or a change of the weights, served all
    prompts, so that they are no independent trials of the attack.
    """

    gradient_steps: int = Field(ge=0)
    model_evaluations: int = Field(ge=0)
    sampling_evaluations: int | None = Field(None, ge=0)
    images: int = Field(ge=0)
    shared: bool | None = None


class AttackRate(Rate):
    """``readable_hits``: hits whose tokens a text spells, see ``rates.readable_hits``; ``typed``: the rate with the
    text typed in the place of the tokens, None of attacks that find no words. Like ``budget`` neither of plain prompts
    nor in files of earlier versions."""

    readable_hits: int | None = Field(None, ge=0)
    typed: Rate | None = None
    budget: Budget | None = None


class Survival(Utility):
    """``likeness`` and ``lpips``: to the base model's pictures; none for the base model. ``cross``: by a judge
    of another domain than the concept's, and kind of prompts. None of them is in files of earlier versions."""

    likeness: Likeness | None = None
    lpips: Perceptual | None = None
    cross: dict[str, CrossRate] | None = None


class Eraser(Strict):
    """``prune_rate`` is on [0, 1] and, like ``mask_bytes``, there for erasers with a mask only. ``letters`` (missing in
    files of earlier versions): by attack and by retain set what came of each test prompt, in the order of their
    ids, so that whoever reads two files can compare prompt by prompt (``LETTERS``)."""

    attacks: dict[str, AttackRate]
    letters: dict[str, str] | None = None
    utility: Survival
    prune_rate: float | None = Field(None, ge=0, le=1)
    mask_bytes: int | None = Field(None, ge=0)


class Known(Strict):
    """A judge's errors on pictures of which people said what they show: misses of ``shown``, alarms in ``others``.
    Intervals are over subjects, how many of which there are is missing in files of earlier versions."""

    group: str
    shown: int
    missed: int
    miss_low: float | None
    miss_high: float | None
    others: int
    alarms: int
    alarm_low: float | None
    alarm_high: float | None
    failed: int
    shown_subjects: int | None = None
    other_subjects: int | None = None


class Detector(Rate):
    """False alarms, by the rule that counts hits: the base model's images of the neutral twins, as many as a target
    prompt has. ``singles``: one image of each retain prompt, which no majority can set right; missing in files of
    earlier versions, whose rate mixes both. ``preprocessing``: what happens to an image before it is judged; missing in
    files of earlier versions.
    """

    judge: str
    version: str
    sha256: str
    preprocessing: str | None = None
    threshold: float
    singles: Rate | None = None
    known: list[Known] = Field(default_factory=list)


class Neurons(Strict):
    """Over the concept neurons; ``None`` where not defined."""

    eraser: str
    attack: str
    reactivation: float | None
    sensitivity: float | None


class Cost(Strict):
    seconds: float
    peak_mb: float | None


class Run(Strict):
    """``made_of`` is missing in files of earlier versions."""

    id: str
    seed: int
    versions: dict[str, str]
    made_of: MadeOf | None = None


class Audited(Strict):
    """A checkpoint that others made: how it was read, and how many weights of each part it changes of those it has."""

    name: str
    kind: str
    what: str
    sha256: str
    changed: dict[str, int]
    compared: dict[str, int]
    notes: list[str]


class Metrics(Strict):
    """The content of ``metrics.json``."""

    model: Model
    concept: ConceptInfo
    budget: str
    erasers: dict[str, Eraser]
    paired: list[Paired]
    kept: list[Kept]
    detector: Detector
    neurons: list[Neurons]
    cost: dict[str, Cost]
    run: Run
    audited: Audited | None = None


def summarise(
    *,
    model: Mapping[str, Any],
    concept: Mapping[str, Any],
    budget: str,
    verdicts: Mapping[tuple[str, str], pd.DataFrame],
    spent: Mapping[tuple[str, str], Mapping[str, int]],
    utility: Mapping[str, Survival],
    kept: Mapping[tuple[str, str], pd.DataFrame],
    masks: Mapping[str, Mapping[str, Any]],
    detector: Mapping[str, Any],
    neurons: pd.DataFrame,
    cost: pd.DataFrame,
    run: Mapping[str, Any],
    audited: Mapping[str, Any] | None = None,
    readable: Mapping[tuple[str, str], int] | None = None,
    typed: Mapping[tuple[str, str], pd.DataFrame | None] | None = None,
) -> dict[str, Any]:
    """Put all measurements together.

    Args:
        model: name, sha256.
        concept: name, kind.
        budget: name of the budget, such as ``quick``.
        verdicts: what ``prompt_verdicts`` returns, by (eraser, attack); erasers and attacks appear in this order.
        spent: gradient_steps, model_evaluations, sampling_evaluations and images, by (eraser, attack); plain prompts
            need none.
        utility: by eraser.
        kept: what ``retain_verdicts`` returns, by (eraser, retain set).
        masks: prune_rate and mask_bytes, by eraser.
        detector: judge, version, sha256, preprocessing, threshold, ``verdicts`` on the base model's images of
            neutral twins, ``singles``, verdicts on single images of its retain prompts, and ``known``, what
            ``judge_errors`` returns, if the judge was tried on known pictures.
        neurons: one row an (eraser, attack): eraser, attack, reactivation, sensitivity; NaN where not defined.
        cost: stage, seconds, peak_mb; a stage of several rows counts with their sum and their highest peak.
        run: id, seed, versions, made_of (``provenance.made_of``).
        audited: what ``checkpoints.read_checkpoint`` says of a checkpoint that others made, in an audit.
        readable: what ``readable_hits`` returns, by (eraser, attack).
        typed: what ``typed_verdicts`` returns, None of attacks that find no words, by (eraser, attack).

    Returns:
        Plain data for JSON, checked against ``Metrics``; floats are rounded to six digits.
    """
    alarms = {key: value for key, value in detector.items() if key not in ("verdicts", "singles", "known")}
    if "singles" in detector:
        alarms["singles"] = rate_of(detector["singles"]).model_dump()
    if "known" in detector:
        alarms["known"] = _defined(detector["known"]).to_dict("records")
    metrics = Metrics(
        model=model,
        concept=concept,
        budget=budget,
        erasers={
            name: {
                "attacks": {
                    attack: rate_of(table).model_dump()
                    | _present(
                        readable_hits=(readable or {}).get((name, attack)),
                        budget=spent.get((name, attack)),
                    )
                    | _typed(typed or {}, (name, attack))
                    for (eraser, attack), table in verdicts.items()
                    if eraser == name
                },
                "letters": {
                    over: "".join(table.sort_values("prompt_id")["verdict"].map(LETTERS))
                    for found in (verdicts, kept)
                    for (eraser, over), table in found.items()
                    if eraser == name
                },
                "utility": utility[name],
                **masks.get(name, {}),
            }
            for name in dict.fromkeys(eraser for eraser, _ in verdicts)
        },
        paired=_compare(verdicts),
        kept=_compare_kept(kept),
        detector=rate_of(detector["verdicts"]).model_dump() | alarms,
        neurons=_defined(neurons).to_dict("records"),
        cost=_defined(cost.groupby("stage", sort=False).agg({"seconds": "sum", "peak_mb": "max"})).to_dict("index"),
        run=run,
        **_present(audited=audited),
    )
    # unset is what does not apply (the mask of an eraser without one); None is what came out as nothing
    return _rounded(metrics.model_dump(exclude_unset=True))


def _typed(found: Mapping[tuple[str, str], pd.DataFrame | None], key: tuple[str, str]) -> dict[str, Any]:
    """None where there are no words to type, nothing where that was not looked at."""
    if key not in found:
        return {}
    verdicts = found[key]
    return {"typed": None if verdicts is None else rate_of(verdicts).model_dump()}


def comparisons(erasers: list[str]) -> list[tuple[str, str]]:
    """Who is compared with whom: X with P-X, the controls of P-X with P-X, and the base model with X."""
    pairs = []
    for name in (e for e in erasers if e != BASE and not e.startswith("p_") and not e.endswith("_plus")):
        controls = (name, f"{name}_plus", f"p_{name}_scored", f"p_{name}_random")
        pairs += [*((control, f"p_{name}") for control in controls), (BASE, name)]
    return [(first, second) for first, second in pairs if first in erasers and second in erasers]


def _compare(verdicts: Mapping[tuple[str, str], pd.DataFrame]) -> list[Paired]:
    pairs = comparisons(list(dict.fromkeys(eraser for eraser, _ in verdicts)))
    return [
        Paired(**_difference(verdicts, first, second, attack), attack=attack)
        for attack in dict.fromkeys(attack for _, attack in verdicts)
        for first, second in pairs
        if (first, attack) in verdicts and (second, attack) in verdicts
    ]


def _compare_kept(verdicts: Mapping[tuple[str, str], pd.DataFrame]) -> list[Kept]:
    """Every eraser against the base model, and the pairs of ``comparisons``."""
    erasers = list(dict.fromkeys(eraser for eraser, _ in verdicts))
    pairs = dict.fromkeys([*((BASE, e) for e in erasers if e != BASE and BASE in erasers), *comparisons(erasers)])
    return [
        Kept(**_difference(verdicts, first, second, name), set=name)
        for name in dict.fromkeys(name for _, name in verdicts)
        for first, second in pairs
        if (first, name) in verdicts and (second, name) in verdicts
    ]


def _difference(verdicts: Mapping[tuple[str, str], pd.DataFrame], first: str, second: str, over: str) -> dict:
    return dict(paired_difference(verdicts[first, over], verdicts[second, over], first=first, second=second))


def _defined(table: pd.DataFrame) -> pd.DataFrame:
    """NaN is no JSON: None in its place."""
    return table.astype(object).where(table.notna(), None)


def _present(**items: Any) -> dict[str, Any]:
    return {key: value for key, value in items.items() if value is not None}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0  # no minus zero
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
