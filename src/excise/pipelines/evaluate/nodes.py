"""One cell: a model that wears an eraser, under an attack, drawn and judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from excise.attacks import AttackOptions
from excise.cache import Cache, code_of
from excise.concepts import Concept
from excise.concepts.concept import JudgeSpec
from excise.erasers import Eraser
from excise.images import Discreet, DrawOptions, ImageSet, Pictures, draw_images, judged_while_drawn
from excise.masks import PruneOptions
from excise.pipelines.erase.nodes import (
    CODE,
    NeuronOptions,
    adversarial_states,
    attack_eraser,
    measure,
    open_model,
    rows_of,
)

RETAIN = ["retain_near", "retain_far"]
ASKED = ["token_ids", "embedding", "latent", "strength"]  # how an adversarial prompt is drawn


def attack_test_prompts(
    concept: dict,
    model: dict,
    eraser: Eraser,
    prompts: pd.DataFrame,
    trajectories: dict,
    attack: AttackOptions,
    draw: DrawOptions,
    cache: Cache,
) -> pd.DataFrame:
    """Adversarial prompts made from test prompts."""
    return attack_eraser(model, eraser, prompts, trajectories, attack, cache, "test", concept, draw)


def draw_plain(
    concept: dict, model: dict, eraser: Eraser, prompts: pd.DataFrame, draw: DrawOptions, cache: Cache
) -> ImageSet:
    """Pictures of test prompts as they are: targets and what must survive; for the base model the neutral twins too."""
    harmless = ["neutral"] if eraser.header["variant"] == "none" else []
    return _draw(
        concept, model, eraser, rows_of(prompts, ["target", *harmless, *RETAIN], "test"), draw, cache, "plain prompts"
    )


def draw_attacked(
    concept: dict,
    model: dict,
    eraser: Eraser,
    prompts: pd.DataFrame,
    adversarial: pd.DataFrame,
    draw: DrawOptions,
    cache: Cache,
) -> ImageSet:
    """Pictures of adversarial prompts, drawn from their tokens."""
    rows = rows_of(prompts, ["target"], "test").merge(
        adversarial[["prompt_id", *ASKED, "weights", "dropped"]], on="prompt_id"
    )
    rows = rows[rows["dropped"] == ""].drop(columns="dropped")
    return _draw(concept, model, eraser, rows, draw, cache, "adversarial prompts")


def judge_concept(concept: dict, images: ImageSet, cache: Cache) -> pd.DataFrame:
    """Raw detections of the concept's judge on all pictures."""
    return _judged(images, "concept", Concept(**concept).judge, cache)


def judge_again(concept: dict, images: ImageSet, cache: Cache) -> pd.DataFrame:
    """Raw detections of the concept's second judge on all pictures; the concept must have one."""
    judge = Concept(**concept).second_judge
    assert judge is not None
    return _judged(images, "second", judge, cache)


def judge_retain(concept: dict, images: ImageSet, cache: Cache) -> pd.DataFrame:
    """Raw detections of the retain judge on pictures of what must survive."""
    manifest = images.manifest[images.manifest["set"].isin(RETAIN)].reset_index(drop=True)
    return _judged(ImageSet(images.folder, manifest), "retain", Concept(**concept).retain_judge, cache)


def _judged(images: ImageSet, role: str, spec: JudgeSpec, cache: Cache) -> pd.DataFrame:
    from excise.judges import JUDGES, make_judge
    from excise.judges.judging import judge_images

    before = judged_while_drawn(images)
    if before is not None:
        return _of_role(before, role)
    judge = make_judge(spec)
    code = ("excise.judges", *code_of(JUDGES[spec.name]))
    known = {"name": spec.name, "options": spec.options, "version": judge.version, "sha256": judge.sha256}
    folder = cache.folder("judgements", code, judge=known, pictures=images.manifest)
    return judge_images(judge, images, folder=folder, shard=cache.shard)


def measure_reference(
    model: dict, prompts: pd.DataFrame, trajectories: dict, neurons: NeuronOptions, prune: PruneOptions
) -> dict:
    """Activations of the base model on test prompts: concept beside neutral twin."""
    base = open_model(model)
    first, second = (base.encode(rows_of(prompts, [s], "test")["prompt"].tolist()) for s in ("target", "neutral"))
    return measure(base, first, second, trajectories, neurons, prune, "test")


def measure_reactivation(
    model: dict,
    eraser: Eraser,
    prompts: pd.DataFrame,
    adversarial: pd.DataFrame,
    trajectories: dict,
    sensitivity: pd.DataFrame,
    reference: dict,
    neurons: NeuronOptions,
    prune: PruneOptions,
    attack: AttackOptions,
) -> pd.DataFrame:
    """How much of the concept's signal the concept neurons carry, plain and attacked, and how sensitive they are.

    An attack that leaves the words alone, and starts from a picture or changes the weights, has no such figures.
    """
    from excise.neurons import find_units, reactivation
    from excise.neurons import sensitivity as sensitivity_of
    from excise.neurons.units import outgoing_norms

    base = open_model(model)
    units = find_units(base.denoiser, neurons.values)
    base_norms = {u.name: outgoing_norms(base.denoiser, u).cpu() for u in units}
    concept_neurons = sensitivity[sensitivity["correlated"]]
    rows = []
    with base.wearing(eraser) as worn:
        plain, twins = (worn.encode(rows_of(prompts, [s], "test")["prompt"].tolist()) for s in ("target", "neutral"))
        attacked = adversarial_states(worn, adversarial)
        norms = {u.name: outgoing_norms(worn.denoiser, u).cpu() for u in units}
        beside = measure(worn, plain, attacked, trajectories, neurons, prune, "test")
        values = pd.concat(
            pd.Series(sensitivity_of(beside, str(layer)).mean(0).numpy()[part["neuron"].to_numpy()])
            for layer, part in concept_neurons.groupby("layer")
        )
        for name, states, sensed in (("plain", plain, float("nan")), (attack.method, attacked, float(values.mean()))):
            signal = measure(worn, states, twins, trajectories, neurons, prune, "test")
            back = reactivation(sensitivity, reference, signal, base_norms, norms)
            rows.append(
                {"eraser": eraser.header["variant"], "attack": name, "reactivation": back, "sensitivity": sensed}
            )
    if adversarial["weights"].ne("").any() or adversarial["latent"].map(len).any():
        rows[-1] |= {"reactivation": float("nan"), "sensitivity": float("nan")}
    return pd.DataFrame(rows)


def _draw(
    concept: dict, model: dict, eraser: Eraser, rows: pd.DataFrame, draw: DrawOptions, cache: Cache, what: str
) -> ImageSet:
    from safetensors.torch import load_file

    described = Concept(**concept)
    base = open_model(model)
    content = {"weights": eraser.weights, "pruned": eraser.pruned}
    changed, shown = Path(), rows
    if "token_ids" in rows:
        [weights] = set(rows["weights"]) or {""}
        changed, rows = Path(weights), rows.drop(columns="weights")
        shown = rows.assign(**{c: rows[c].map(lambda values: " ".join(map(str, values))) for c in ASKED[:3]})
    code, judges = CODE, []
    if described.unsafe:  # judged while they are drawn
        from excise.judges import JUDGES

        judges = described.judges
        code += ("excise.judges", "excise.reports.sheets", *code_of(*(JUDGES[j.name] for j in judges)))
    folder = cache.folder(
        "images",
        code,
        model=model,
        eraser=content,
        rows=shown,
        draw=draw,
        unsafe=described.unsafe,
        judges=judges,
        changed=changed if changed.name else None,
    )
    values = load_file(changed) if changed.name else {}
    with base.wearing(eraser) as worn, worn.changed(values):
        title = f"drawing {what}: {eraser.header['variant']}"
        discreet = _discreet(described) if described.unsafe else None
        return draw_images(worn, rows, draw, folder, title, discreet, cache.shard)


def _discreet(concept: Concept) -> Discreet:
    """All judges look before pictures are coarsened: a coarse picture tells the retain judge nothing either."""
    from excise.judges import make_judge
    from excise.judges.judging import judge_images
    from excise.reports import pixelate

    seeing, keeping = make_judge(concept.judge), make_judge(concept.retain_judge)
    again = make_judge(concept.second_judge) if concept.second_judge else None

    def judge(pictures: Pictures) -> pd.DataFrame:
        kept = pictures.manifest[pictures.manifest["set"].isin(RETAIN)].reset_index(drop=True)
        tables = [judge_images(seeing, pictures).assign(role="concept")]
        if again is not None:
            tables.append(judge_images(again, pictures).assign(role="second"))
        if len(kept):
            tables.append(
                judge_images(
                    keeping, replace(pictures, manifest=kept, pictures=pictures.load(kept["image_id"]))
                ).assign(role="retain")
            )
        return pd.concat(tables, ignore_index=True)

    return Discreet(judge, pixelate)


def _of_role(judgements: pd.DataFrame, role: str) -> pd.DataFrame:
    return judgements[judgements["role"] == role].drop(columns="role").reset_index(drop=True)
