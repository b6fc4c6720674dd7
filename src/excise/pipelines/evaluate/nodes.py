"""One cell: a model that wears an eraser, under an attack, drawn and judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from excise.attacks import AttackOptions
from excise.cache import Cache, code_of
from excise.concepts import Concept
from excise.concepts.concept import JudgeSpec
from excise.erasers import Eraser
from excise.images import Discreet, DrawOptions, ImageSet, Pictures, draw_again, draw_images, judged_while_drawn
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
    return _draw(concept, model, eraser, _plain_rows(eraser, prompts), draw, cache, "plain prompts")


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
    return _draw(concept, model, eraser, _attacked_rows(prompts, adversarial), draw, cache, "adversarial prompts")


def _plain_rows(eraser: Eraser, prompts: pd.DataFrame) -> pd.DataFrame:
    harmless = ["neutral"] if eraser.header["variant"] == "none" else []
    return rows_of(prompts, ["target", *harmless, *RETAIN], "test")


def _attacked_rows(prompts: pd.DataFrame, adversarial: pd.DataFrame) -> pd.DataFrame:
    asked = adversarial[["prompt_id", *ASKED, "weights", "dropped"]]
    rows = rows_of(prompts, ["target"], "test").merge(asked, on="prompt_id")
    return rows[rows["dropped"] == ""].drop(columns="dropped")


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


def locate_neurons(
    model: dict,
    eraser: Eraser,
    prompts: pd.DataFrame,
    trajectories: dict,
    reference: dict,
    neurons: NeuronOptions,
    prune: PruneOptions,
) -> pd.DataFrame:
    """Where the concept's neurons are in an erased model, looked for afresh on plain test prompts beside their twins.

    Returns:
        As ``excise.neurons.moving.located``, with the eraser's variant; under a mask three rows more, ``scale`` being
        True: the base model with as many zeros in each parameter, drawn at random, which moves neurons without erasing.
    """
    import torch

    from excise.masks.fixed import random_mask
    from excise.neurons import find_units
    from excise.neurons.moving import located
    from excise.neurons.units import outgoing_norms

    base = open_model(model)
    units = find_units(base.denoiser, neurons.values)
    before = {u.name: outgoing_norms(base.denoiser, u).cpu() for u in units}

    def look(worn_eraser: Eraser) -> pd.DataFrame:
        with base.wearing(worn_eraser) as worn:
            states = (worn.encode(rows_of(prompts, [s], "test")["prompt"].tolist()) for s in ("target", "neutral"))
            found = measure(worn, *states, trajectories, neurons, prune, "test")
            after = {u.name: outgoing_norms(worn.denoiser, u).cpu() for u in units}
        return located(units, (reference, before), (found, after), prune.top, worn_eraser.pruned, base.denoiser)

    tables = [look(eraser).assign(scale=False)]
    if eraser.pruned:
        everywhere = {name: torch.ones_like(places) for name, places in eraser.pruned.items()}
        drawn = replace(eraser, weights={}, pruned=random_mask(eraser.pruned, everywhere, 0))
        tables.append(look(drawn).assign(scale=True))
    return pd.concat(tables, ignore_index=True).assign(eraser=eraser.header["variant"])


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
        from excise.judges import JUDGES, make_judge

        judges = [(j.name, j.options, make_judge(j).version, make_judge(j).sha256) for j in described.judges]
        code += ("excise.judges", "excise.reports.sheets", *code_of(*(JUDGES[j.name] for j in described.judges)))
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


def redraw(
    concept: dict,
    model: dict,
    eraser: Eraser,
    prompts: pd.DataFrame,
    draw: DrawOptions,
    wanted: list[str],
    adversarial: pd.DataFrame | None = None,
) -> list[Pictures]:
    """What ``draw_plain``, or with adversarial prompts ``draw_attacked``, drew: the batches with the wanted images."""
    from safetensors.torch import load_file

    rows = _plain_rows(eraser, prompts) if adversarial is None else _attacked_rows(prompts, adversarial)
    values = {}
    if "weights" in rows:
        [weights] = set(rows["weights"]) or {""}
        rows, values = rows.drop(columns="weights"), load_file(weights) if weights else {}
    with open_model(model).wearing(eraser) as worn, worn.changed(values):
        return draw_again(worn, rows, draw, wanted)


def detections_again(
    concept: Concept, images: ImageSet, drawn: list[Pictures], wanted: list[str], batch: int
) -> pd.DataFrame:
    """What the concept's judge sees in pictures that were drawn again, each in the company that it was judged in."""
    from excise.judges import make_judge
    from excise.judges.judging import judge_images

    if concept.unsafe:  # judged batch by batch, while they were drawn
        judge = _discreet(concept).judge
        return _of_role(pd.concat([judge(pictures) for pictures in drawn], ignore_index=True), "concept")
    at = {image: place for place, image in enumerate(images.manifest["image_id"])}
    parts = sorted({at[image] // batch for image in wanted})
    beside = pd.concat([images.manifest.iloc[p * batch : (p + 1) * batch] for p in parts], ignore_index=True)
    own = {i: picture for one in drawn for i, picture in zip(one.manifest["image_id"], one.pictures, strict=True)}
    stored = dict(zip(beside["image_id"], images.load(beside["image_id"].tolist()), strict=True))
    pictures = np.stack([own[i] if i in wanted else stored[i] for i in beside["image_id"]])
    return judge_images(make_judge(concept.judge), Pictures(beside, pictures), batch)


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
