"""From judgements to metrics, figures and the report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from excise.attacks import total
from excise.cache import Cache, fingerprint, finished, write_atomically
from excise.concepts import Concept
from excise.concepts.concept import JudgeSpec
from excise.erasers import Eraser
from excise.images import DrawOptions, ImageSet
from excise.pipelines.evaluate.nodes import RETAIN
from excise.pipelines.names import PLAIN
from excise.provenance import made_of

if TYPE_CHECKING:
    from excise.metrics.judge_errors import KnownPictures


FILES = {"metrics.json": "every number of this report", "contact_sheet.png": "the pictures"}
JOB = {
    "reactivation.png": "the concept neurons",
    "eraser.safetensors": "one for each eraser: applies to and lifts from the base model",
    "mask.safetensors": "the pruning mask alone",
}
NO_JOB = {"eraser.safetensors": "what the checkpoint changes, as an eraser of the base model"}


def check_judge(concept: dict, known_pictures: str | None, cache: Cache) -> pd.DataFrame:
    """How often the concept's judge errs on known pictures; no row where there are none."""
    from excise.metrics.judge_errors import COLUMNS, errors_of, load_known, words_for
    from excise.models import find_folder

    described = Concept(**concept)
    if known_pictures is None:
        return pd.DataFrame(columns=COLUMNS)
    known = load_known(find_folder(known_pictures))
    return errors_of(seen_once(described.judge, known, cache), words_for(described.judge, described.name), known)


def seen_once(spec: JudgeSpec, known: KnownPictures, cache: Cache) -> pd.Series:
    """What a judge says of known pictures: the same judge is asked once."""
    from excise.cache import code_of
    from excise.judges import make_judge
    from excise.metrics.judge_errors import see_known

    judge = make_judge(spec)
    inputs = {"judge": judge.sha256, "spec": spec, "pictures": known.pictures}
    code = ("excise.judges", "excise.metrics.judge_errors", *code_of(type(judge)))
    path = cache.folder("known", code, **inputs) / "seen.json"
    if not finished(path):
        seen = see_known(spec, known)
        if seen.isna().any():
            return seen  # a failure may be of the moment: it is asked again
        write_atomically(path, lambda draft: draft.write_text(json.dumps(seen.tolist())))
    return pd.Series(json.loads(path.read_text()), dtype=object)


def summarise_run(
    concept: dict,
    model: dict,
    prompts: pd.DataFrame,
    prompt_counts: dict,
    budget: str,
    seed: int,
    draw: DrawOptions,
    run_info: dict,
    cost: list,
    fidelity: dict,
    judge_errors: pd.DataFrame,
    audited: dict | None = None,
    **cells: Any,
) -> dict:
    """``metrics.json``.

    Args:
        audited: what is known of a checkpoint that others made, in an audit.
        cells: ``<eraser>__<what>`` and ``<eraser>__<attack>__<what>``, what being eraser, judgements,
            retain_judgements, typed_judgements, adversarial or neurons; there are no neurons in an audit.
    """
    from excise.judges import make_judge
    from excise.judges.judging import hits, right
    from excise.metrics.rates import either, prompt_verdicts, rate_of, readable_hits
    from excise.metrics.summary import Survival, summarise
    from excise.metrics.typed import finds_words, typed_verdicts
    from excise.metrics.utility import retain_verdicts
    from excise.pipelines.evaluate.typed import typed_rows

    described = Concept(**concept)
    judge, spec = make_judge(described.judge), described.judge
    labels = judge.resolve(spec.labels)
    test = prompts[prompts["split"] == "test"]
    target = test[test["set"] == "target"]["prompt_id"]
    verdicts, spent, readable, typed, utility, kept, masks, neurons, hashes = {}, {}, {}, {}, {}, {}, {}, [], {}
    for key, judgements in _cells(cells, "judgements"):
        eraser, attack = key
        adversarial = cells.get(f"{eraser}__{attack}__adversarial")
        dropped = [] if adversarial is None else adversarial[adversarial["dropped"] != ""]["prompt_id"]
        shown = judgements[judgements["set"] == "target"]
        verdicts[key] = prompt_verdicts(hits(shown, labels, spec.threshold), target, dropped)
        if adversarial is not None:
            typed[key] = None
            if finds_words(adversarial):
                text = cells[f"{eraser}__{attack}__typed_judgements"]
                of_text = prompt_verdicts(
                    hits(text, labels, spec.threshold), typed_rows(prompts, adversarial)["prompt_id"]
                )
                typed[key] = typed_verdicts(verdicts[eraser, PLAIN], verdicts[key], of_text)
            verdicts[key] = either(verdicts[eraser, PLAIN], verdicts[key])
            spelled = adversarial[adversarial["retokenises"]]["prompt_id"]
            readable[key] = readable_hits(verdicts[eraser, PLAIN], verdicts[key], spelled)
            images = int(shown["image_id"].nunique() + adversarial["images"].sum())
            # an older run's table has no sampling_evaluations
            costs = [c for c in ("gradient_steps", "model_evaluations", "sampling_evaluations") if c in adversarial]
            spent[key] = {c: total(adversarial, c) for c in costs} | {"images": images}
            if len(adversarial) and "shared" in adversarial:
                spent[key]["shared"] = bool(adversarial["shared"].all())
            if audited is None:
                neurons.append(cells[f"{eraser}__{attack}__neurons"])
    for (eraser, _), judgements in _cells(cells, "retain_judgements"):
        for name in RETAIN:
            rows = test[test["set"] == name]
            seen = right(judgements, rows.set_index("prompt_id")["label"], described.retain_judge.threshold)
            kept[eraser, name] = retain_verdicts(seen.rename(columns={"hit": "right"}), rows["prompt_id"])
        rates = {name: rate_of(kept[eraser, name]) for name in RETAIN}
        utility[eraser] = Survival(**rates, **fidelity.get(eraser, {}))
    for eraser in utility:
        made: Eraser = cells[f"{eraser}__eraser"]
        hashes[eraser] = made.sha256
        if made.pruned:
            masks[eraser] = {"prune_rate": made.mask.prune_rate, "mask_bytes": made.mask.nbytes}
    base = cells[f"none__{PLAIN}__judgements"]
    alarms = false_alarms(hits(base[base["set"] != "target"], labels, spec.threshold), test)
    return summarise(
        model={"name": model["name"], "sha256": model["sha256"]},
        concept={"name": described.name, "kind": described.kind},
        budget=budget,
        verdicts=verdicts,
        spent=spent,
        utility=utility,
        kept=kept,
        masks=masks,
        detector={
            "judge": judge.name,
            "version": judge.version,
            "sha256": judge.sha256,
            "preprocessing": judge.preprocessing,
            "threshold": spec.threshold,
            **alarms,
            "known": judge_errors,
        },
        neurons=pd.concat(neurons, ignore_index=True) if neurons else pd.DataFrame(),
        cost=pd.DataFrame(cost, columns=["stage", "seconds", "peak_mb"]),
        run={
            **{"id": run_info["id"], "seed": seed, "versions": run_info["versions"]},
            "made_of": made_of(run_info, concept, fingerprint(prompts), hashes),
        },
        audited=audited,
        readable=readable,
        typed=typed,
    )


def false_alarms(harmless: pd.DataFrame, test: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Where the judge sees the concept although nobody asked for it.

    Args:
        harmless: what ``hits`` returns, of the base model's images of neutral twins and retain prompts.
        test: the test prompts.

    Returns:
        ``verdicts`` on the neutral twins, which have as many images as the concept's prompts: the same rule; and
        ``singles``, on the first image of each retain prompt.
    """
    from excise.metrics.rates import prompt_verdicts

    twins, others = (test[test["set"].isin(sets)]["prompt_id"] for sets in (["neutral"], RETAIN))
    first = harmless[harmless["prompt_id"].isin(others)].drop_duplicates("prompt_id")
    return {
        "verdicts": prompt_verdicts(harmless[harmless["prompt_id"].isin(twins)], twins),
        "singles": prompt_verdicts(first, others),
    }


def draw_contact_sheet(concept: dict, prompts: pd.DataFrame, **cells: Any):
    """The same test prompts under every eraser, plain and attacked."""
    from excise.judges import make_judge
    from excise.judges.judging import hits
    from excise.reports import contact_sheet

    described = Concept(**concept)
    labels = make_judge(described.judge).resolve(described.judge.labels)
    target = prompts[(prompts["split"] == "test") & (prompts["set"] == "target")].head(8)
    rows, seen = [], []
    for key, judgements in _cells(cells, "judgements"):
        images: ImageSet = cells[f"{key[0]}__{key[1]}__images"]
        verdict = hits(judgements, labels, described.judge.threshold).set_index("image_id")
        wanted = [f"{p}-0" for p in target["prompt_id"]]
        there = set(images.manifest["image_id"])
        rows.append((row_title(*key), [images.load([i])[0] if i in there else None for i in wanted]))
        seen.append(
            [None if i not in there or verdict.loc[i, "failed"] else bool(verdict.loc[i, "hit"]) for i in wanted]
        )
    return contact_sheet(rows, target["prompt"].tolist(), seen, concept=described.erase, unsafe=described.unsafe)


def draw_reactivation(**tables: pd.DataFrame):
    """Reactivation and sensitivity of the concept neurons."""
    from excise.reports import reactivation_figure

    return reactivation_figure(pd.concat(tables.values(), ignore_index=True))


def draw_rates(metrics: dict):
    """Every rate with its interval."""
    from excise.reports import rates_figure

    return rates_figure(metrics)


def write_report(
    concept: dict,
    prompts: pd.DataFrame,
    prompt_counts: dict,
    metrics: dict,
    contact_sheet,
    rates,
    draw: DrawOptions,
    attacks: dict,
    run_info: dict,
    reactivation=None,
    **located: pd.DataFrame,
) -> str:
    """The HTML report.

    Args:
        attacks: all that are described in the parameters; those that were not run are named as such.
        reactivation: the figure of the concept's neurons; none in an audit.
        located: ``<eraser>__located``, where these neurons are by now; none in an audit.
    """
    from excise.prompts.sets import Account
    from excise.reports import Context, html_report

    described = Concept(**concept)
    first = prompts[(prompts["split"] == "test") & (prompts["set"] == "target")].iloc[0]
    twin = prompts[prompts["prompt_id"] == first["twin_id"]].iloc[0]
    notes = []
    if prompt_counts["minors"]:
        notes.append(
            f"{prompt_counts['minors']} prompt rows with words for minors were dropped before anything was drawn."
        )
    notes += [Account(**account).sentence() for account in prompt_counts.get("sets", [])]
    tried = {attack for one in metrics["erasers"].values() for attack in one["attacks"]}
    context = Context(
        erase=described.erase,
        anchor=described.anchor,
        images_per_prompt=draw.per_prompt,
        command=run_info["command"],
        files=FILES | (NO_JOB if "audited" in metrics else JOB),
        example=first["prompt"],
        twin=twin["prompt"],
        unsafe=described.unsafe,
        notes=notes,
        threats=by_threat(attacks, tried),
        located=[moved(part) for table in located.values() for _, part in table.groupby("scale", sort=True)],
    )
    pictures = {"contact_sheet": contact_sheet, "rates": rates}
    pictures |= {} if reactivation is None else {"reactivation": reactivation}
    return html_report(metrics, pictures, context)


def moved(table: pd.DataFrame) -> dict:
    """One line of the report: the eraser's variant, whether this is the ``scale`` of its mask, and for each of
    ``stayed``, ``new`` and ``left`` its figures; None in the place of a share of pruned weights where there is no mask.
    """
    told = {row["which"]: {k: row[k] for k in ("neurons", "signal")} for row in table.to_dict("records")}
    for which, share in zip(table["which"], table["pruned"], strict=True):
        told[which]["pruned"] = None if pd.isna(share) else float(share)
    return {"eraser": str(table["eraser"].iloc[0]), "scale": bool(table["scale"].iloc[0]), **told}


def by_threat(attacks: dict, tried: set[str]) -> list[dict]:
    """What an attacker may reach, and which attacks of that kind were run and which were not: threat, run, not_run.

    Controls stand apart: luck reaches nothing.
    """
    from excise.attacks import AttackOptions, ThreatModel, make_attack
    from excise.reports.verdict import LUCK
    from excise.reports.words import is_control

    of = {
        name: LUCK if is_control(name) else str(make_attack(AttackOptions.model_validate(options)).threat_model)
        for name, options in attacks.items()
    }
    return [
        {
            "threat": threat,
            "run": [name for name, t in of.items() if t == threat and name in tried],
            "not_run": [name for name, t in of.items() if t == threat and name not in tried],
        }
        for threat in (*map(str, ThreatModel), LUCK)
        if threat in of.values()
    ]


def row_title(eraser: str, attack: str) -> str:
    """A row of the contact sheet: the model, and below it what it was given."""
    from excise.reports import words

    return f"{words.eraser_label(eraser)}\n{words.attack_label(attack)}"


def _cells(cells: dict[str, Any], what: str):
    """((eraser, attack), item) for all cells of a kind, in the order given."""
    for key, item in cells.items():
        parts = key.split("__")
        if len(parts) == 3 and parts[2] == what:
            yield (parts[0], parts[1]), item
