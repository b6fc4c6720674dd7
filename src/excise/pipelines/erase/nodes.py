"""Eraser X, its attack on fit prompts, neurons, mask scores, P-X and X+. Nodes open the model and call the rooms."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from excise.attacks import AttackOptions, ThreatModel, by_words, make_attack
from excise.cache import Cache, code_of, fingerprint
from excise.concepts import Concept
from excise.erasers import Eraser, EraserOptions, make_method
from excise.errors import UserError
from excise.images import DrawOptions
from excise.masks import Mask, PruneOptions
from excise.models import ModelSpec
from excise.provenance import made_of

if TYPE_CHECKING:  # helpers only: Kedro resolves the annotations of nodes at run time
    import torch

CODE = (
    "excise.images",
    "excise.prompts.safety",
    "excise.models",
    "excise.models.families",
    "excise.erasers",
    "excise.masks",
    "excise.neurons",
    "excise.attacks",
    "excise.training",
)  # the rooms; what a method adds to them lies in its own folder


ATTACKS_CODE = ("excise.attacks.search", "excise.attacks.weights")  # what attacks share


class NeuronOptions(BaseModel):
    """Where neurons are looked at."""

    model_config = ConfigDict(extra="forbid")
    timesteps: int = Field(4, ge=1, description="of the sampled timesteps, evenly spaced")
    values: bool = Field(False, description="cross-attention value channels, besides feed-forward units")
    batch: int = Field(32, ge=1, description="prompts looked at together")


def open_model(spec: dict):
    """The base model of a specification, checked against its recorded identity.

    One model is kept from node to node: erasers are lifted bit for bit, so that it stays the base model.
    """
    return _load(json.dumps(spec, sort_keys=True))


def forget_model() -> None:
    """Keep no model; the next node opens it anew."""
    _load.cache_clear()


@lru_cache(maxsize=1)
def _load(spec: str):
    from excise.models.diffusion import DiffusionModel

    described = ModelSpec(**json.loads(spec))
    model = DiffusionModel.load(described)
    if described.sha256 != model.sha256:
        raise UserError("The base model's weights changed during the run: start the run again.")
    return model


def rows_of(prompts: pd.DataFrame, sets: list[str], split: str) -> pd.DataFrame:
    """Rows of some sets and one split, in the table's order."""
    return prompts[prompts["set"].isin(sets) & (prompts["split"] == split)].reset_index(drop=True)


def sample_trajectories(model: dict, prompts: pd.DataFrame, eraser: EraserOptions, cache: Cache) -> dict:
    """Trajectories of the frozen model that all training and all neuron statistics share; paths of the files, and
    ``prompts``, the fingerprint of the table that they were sampled for, and ``asked``, of its rows that count here."""
    from excise.erasers.bank import build_bank

    base, paths = open_model(model), {"prompts": fingerprint(prompts), "asked": asked_of(prompts)}
    wanted = [
        ("concept", ["target"], "fit", eraser.trajectories, eraser.guidance),
        ("retain", ["retain_near", "retain_far"], "fit", 1, eraser.guidance),
        ("test", ["target"], "test", 1, guidance_of(rows_of(prompts, ["target"], "test"), eraser.guidance)),
    ]
    if make_method(eraser).anchored:
        wanted.append(("anchor", ["neutral"], "fit", eraser.trajectories, eraser.guidance))
    for name, sets, split, repeats, guidance in wanted:
        rows = rows_of(prompts, sets, split)
        texts = rows["prompt"].tolist() * repeats
        seeds = [int(s) + 5 * k for k in range(repeats) for s in rows["seed"]]
        settings = {"texts": texts, "seeds": seeds, "steps": eraser.sampling_steps, "guidance": guidance}
        folder = cache.folder("trajectories", ("excise.models", "excise.erasers.bank"), model=model, **settings)
        title = f"trajectories of the base model: {name}"
        build_bank(
            base,
            texts,
            seeds,
            eraser.sampling_steps,
            guidance,
            folder / "bank.safetensors",
            title,
            batch=2 * eraser.batch,
        )
        paths[name] = str(folder / "bank.safetensors")
    return paths


def guidance_of(rows: pd.DataFrame, otherwise: float) -> float | list[float]:
    # at which the pictures that attacks imitate are drawn: a prompt's own, where its table has one, and else the run's
    own = rows["guidance"] if "guidance" in rows else pd.Series(float("nan"), rows.index)
    return otherwise if own.isna().all() else own.fillna(otherwise).astype(float).tolist()


def asked_of(prompts: pd.DataFrame) -> str:
    """Fingerprint of the rows that trajectories are sampled of, and attackers know."""
    rows = prompts[(prompts["set"] == "target") | (prompts["split"] == "fit")]
    known = ["set", "split", "prompt", "seed"]
    if "guidance" in rows and rows["guidance"].notna().any():
        known.append("guidance")
    return fingerprint(rows[[c for c in known if c in rows]])


def open_bank(model, trajectories: dict, name: str):
    """A stored bank, on the model's device."""
    from safetensors.torch import load_file

    from excise.erasers.bank import Bank

    return Bank(**load_file(trajectories[name], device=str(model.device)))


def open_material(model, trajectories: dict, concept: dict, adversarial: pd.DataFrame | None = None):
    """What a method learns from; adversarial states are repeated for every trajectory of their prompt."""
    from excise.erasers.material import Material, Words
    from excise.prompts.build import held_out

    described = Concept(**concept)
    kept = [words for group in (described.retain_near, described.retain_far) for words in group.values()]
    words = Words(described.target.fit, described.anchor, [w for v in kept for w in held_out(v, "fit") if w])
    banks = {
        n: open_bank(model, trajectories, n) if n in trajectories else None for n in ("concept", "anchor", "retain")
    }
    states = None
    if adversarial is not None:
        states = adversarial_states(model, adversarial)
        states = states.repeat(len(banks["concept"].states) // len(states), 1, 1)
    return Material(**banks, words=words, adversarial=states)


def no_eraser(concept: dict, model: dict, run_info: dict) -> Eraser:
    """The control: an eraser that changes nothing."""
    return Eraser(_header("none", "none", concept, model, {}, 0, run_info, None))


def train_unpruned(
    concept: dict, model: dict, trajectories: dict, eraser: EraserOptions, seed: int, cache: Cache, run_info: dict
) -> tuple[Eraser, list[dict]]:
    """Eraser X."""
    from excise.erasers.make import make_erased

    base = open_model(model)
    material = open_material(base, trajectories, concept)
    inputs = {"banks": _bank_names(trajectories), "words": vars(material.words), "options": eraser, "seed": seed}
    folder = cache.folder("eraser", eraser_code(eraser), model=model, **inputs)
    prepared = _prepared(cache, model, trajectories, material, eraser, seed)
    erased = make_erased(base, eraser, material, seed, folder, eraser.method, prepared=prepared)
    last = (eraser.model_dump(mode="json"), seed, run_info, trajectories.get("prompts"))
    header = _header(eraser.method, eraser.method, concept, model, *last)
    return Eraser(header, erased.weights, erased.pruned), erased.losses


def attack_eraser(
    model: dict,
    eraser: Eraser,
    prompts: pd.DataFrame,
    trajectories: dict,
    attack: AttackOptions,
    cache: Cache,
    split: str,
    concept: dict | None = None,
    draw: DrawOptions | None = None,
) -> pd.DataFrame:
    """Adversarial prompts against a model that wears an eraser, for the target prompts of a split.

    Args:
        concept, draw: who judges the images that the attack asks for, and how those are drawn; an attack whose option
            ``images`` is 0 needs neither.
    """
    base = open_model(model)
    if trajectories.get("asked", asked_of(prompts)) != asked_of(prompts):
        raise UserError(
            "The prompts were changed since the trajectories were sampled, which an attack compares with: run the "
            "whole job again, or its stage 'erase'."
        )
    rows = rows_of(prompts, ["target"], split)
    references = open_bank(base, trajectories, {"fit": "concept", "test": "test"}[split]).final[: len(rows)]
    inputs = {"model": model, "eraser": {"weights": eraser.weights, "pruned": eraser.pruned}, "options": attack}
    asked = rows[[c for c in ("prompt", "seed", "guidance") if c in rows]]
    inputs |= {"prompts": asked, "references": references}
    method = make_attack(attack)
    if method.threat_model == ThreatModel.IMAGE and concept is not None and Concept(**concept).unsafe:
        raise UserError(
            f"The attack '{attack.method}' keeps latents of the concept's pictures, which '{concept['name']}' forbids "
            "since it is marked unsafe: choose an attack by words or on the weights."
        )
    if split == "fit" and not by_words(method):
        raise UserError(
            f"The attack '{attack.method}' changes no words for P-X to learn against: choose another for that."
        )
    code, examine = (*CODE, *ATTACKS_CODE, *code_of(type(method))), None
    known = _knowledge(base, prompts, trajectories)
    inputs["knowledge"] = {"target": known.target, "neutral": known.neutral, "harmless": known.harmless_prompts}
    inputs["knowledge"] |= {"concept": known.concept}
    if attack.images:
        if concept is None or draw is None:
            raise UserError("An attack that judges images needs a concept and drawing options.")
        from excise.judges import JUDGES, make_judge

        judge = Concept(**concept).judge
        inputs |= {"judged_by": (make_judge(judge).version, make_judge(judge).sha256)}
        inputs |= {"judge": judge, "draw": {"steps": draw.steps, "guidance": draw.guidance}}
        code += ("excise.judges", *code_of(JUDGES[judge.name]))
        examine = _examiner(base, concept, draw)
    folder = cache.folder("attack", code, **inputs)
    title = f"{attack.method} on {eraser.header['variant']}, {split} prompts"
    with base.wearing(eraser) as worn:
        given = (worn, rows, references, attack, folder, title, known, examine)
        if method.divisible:
            table = method.run(*given, shard=cache.shard)
        elif cache.shard.first:
            table = method.run(*given)
        else:
            table = pd.DataFrame()  # the first shard makes it
    return table.assign(split=split, sampling_evaluations=_sampled(table, rows, draw))


def _sampled(table: pd.DataFrame, rows: pd.DataFrame, draw: DrawOptions | None):
    """What it took to draw the images that each prompt had judged on its way."""
    from excise.images.drawing import sampling_evaluations

    if draw is None or table.empty:
        return 0
    return sampling_evaluations(rows, draw).loc[table["prompt_id"]].to_numpy() * table["images"]


def _knowledge(base, prompts: pd.DataFrame, trajectories: dict):
    """What an attacker may know: fit prompts and their twins, and the base model's pictures of the concept and of
    other things; nothing of the test split."""
    from excise.attacks.search import Knowledge

    target, twins = (rows_of(prompts, [s], "fit")["prompt"].tolist() for s in ("target", "neutral"))
    kept = rows_of(prompts, ["retain_near", "retain_far"], "fit")["prompt"].tolist()
    harmless = open_bank(base, trajectories, "retain").final if "retain" in trajectories else None
    concept = open_bank(base, trajectories, "concept").final if "concept" in trajectories else None
    shown = [] if concept is None else target * (len(concept) // len(target))  # several trajectories a prompt
    return Knowledge(target, twins, harmless, kept if harmless is not None else [], concept, shown)


def _examiner(worn, concept: dict, draw: DrawOptions):
    """Draws one image of each candidate, judges it, and keeps nothing."""
    from excise.images.drawing import draw_once
    from excise.judges import make_judge
    from excise.judges.judging import hits, judge_images

    spec = Concept(**concept).judge
    judge = make_judge(spec)
    labels = judge.resolve(spec.labels)

    def examine(candidates: pd.DataFrame) -> list[bool | None]:
        pictures = draw_once(worn, candidates, draw)
        seen = hits(judge_images(judge, pictures), labels, spec.threshold).set_index("prompt_id")
        asked = seen.loc[candidates["prompt_id"]]
        return [None if failed else bool(hit) for hit, failed in zip(asked["hit"], asked["failed"], strict=True)]

    return examine


def measure_concept(
    model: dict, prompts: pd.DataFrame, trajectories: dict, neurons: NeuronOptions, prune: PruneOptions
) -> dict:
    """Activations of the base model on fit prompts: concept beside neutral twin."""
    base = open_model(model)
    target, twins = rows_of(prompts, ["target"], "fit"), rows_of(prompts, ["neutral"], "fit")
    return measure(
        base,
        base.encode(target["prompt"].tolist()),
        base.encode(twins["prompt"].tolist()),
        trajectories,
        neurons,
        prune,
    )


def measure_attacked(
    model: dict,
    eraser: Eraser,
    adversarial: pd.DataFrame,
    trajectories: dict,
    neurons: NeuronOptions,
    prune: PruneOptions,
) -> dict:
    """Activations of the erased model on fit prompts: plain beside adversarial."""
    base = open_model(model)
    with base.wearing(eraser) as worn:
        plain = worn.encode(adversarial["prompt"].tolist())
        return measure(worn, plain, adversarial_states(worn, adversarial), trajectories, neurons, prune)


def rank_neurons(
    model: dict, concept_activations: dict, adversarial_activations: dict, neurons: NeuronOptions, prune: PruneOptions
) -> pd.DataFrame:
    """Concept correlation and sensitivity of every neuron."""
    from excise.neurons import find_units, neuron_table

    units = find_units(open_model(model).denoiser, neurons.values)
    return neuron_table(units, concept_activations, adversarial_activations, prune.top)


def score_masks(
    model: dict,
    prompts: pd.DataFrame,
    trajectories: dict,
    sensitivity: pd.DataFrame,
    neurons: NeuronOptions,
    prune: PruneOptions,
) -> dict:
    """Scores of the weights that may be pruned."""
    from excise.masks.scores import input_norms, score_weights
    from excise.models.layers import parameter_names

    base = open_model(model)
    names = parameter_names(base.denoiser, prune.group)
    layers = [n.removesuffix(".weight") for n in names]
    norms = []
    for group in ("target", "neutral"):
        states = base.encode(rows_of(prompts, [group], "fit")["prompt"].tolist())
        times, latents = _spaced(open_bank(base, trajectories, "concept"), neurons.timesteps, len(states))
        norms.append(input_norms(base, layers, states, times, latents, neurons.batch))
    return score_weights(base.denoiser, names, norms[0], norms[1], sensitivity)


def train_learned(
    concept: dict,
    model: dict,
    trajectories: dict,
    adversarial: pd.DataFrame,
    sensitivity: pd.DataFrame,
    mask_scores: dict,
    eraser: EraserOptions,
    prune: PruneOptions,
    seed: int,
    cache: Cache,
    run_info: dict,
) -> tuple[Eraser, Mask, list[dict]]:
    """Eraser P-X: a mask learned under X's loss on plain and adversarial prompts."""
    from excise.erasers.make import make_erased
    from excise.masks import mask_support

    base = open_model(model)
    material = open_material(base, trajectories, concept, adversarial if prune.adversarial else None)
    support = mask_support(base.denoiser, prune, sensitivity)
    folder = cache.folder(
        "mask",
        eraser_code(eraser),
        model=model,
        banks=_bank_names(trajectories),
        words=vars(material.words),
        adversarial=material.adversarial,
        scores=mask_scores,
        support=support,
        options=eraser,
        prune=prune,
        seed=seed,
    )
    name = f"p_{eraser.method}"
    prepared = _prepared(cache, model, trajectories, material, eraser, seed)
    erased = make_erased(base, eraser, material, seed, folder, name, prune, support, mask_scores, prepared=prepared)
    options = {"eraser": eraser.model_dump(mode="json"), "prune": prune.model_dump(mode="json")}
    last = (options, seed, run_info, trajectories.get("prompts"))
    header = _header(eraser.method, name, concept, model, *last) | {"support": prune.group}
    made = Eraser(header, erased.weights, erased.pruned)
    return made, made.mask, erased.losses


def prune_by_score(
    concept: dict,
    model: dict,
    trajectories: dict,
    adversarial: pd.DataFrame,
    sensitivity: pd.DataFrame,
    learned: Eraser,
    mask_scores: dict,
    eraser: EraserOptions,
    prune: PruneOptions,
    seed: int,
    cache: Cache,
) -> tuple[Eraser, Mask]:
    """P-X under a mask that nobody learned: as many weights as P-X prunes, those with the highest scores."""
    from excise.masks.fixed import scored_mask

    support = _prunable(concept, model, trajectories, sensitivity, eraser, prune, seed, cache)
    pruned = scored_mask(mask_scores, support, learned.mask.count / sum(s.numel() for s in support.values()))
    weights = _tuned(concept, model, trajectories, adversarial, learned, pruned, eraser, prune, seed, cache, "scored")
    return _other_mask(learned, weights, pruned, "scored")


def prune_at_random(
    concept: dict,
    model: dict,
    trajectories: dict,
    adversarial: pd.DataFrame,
    sensitivity: pd.DataFrame,
    learned: Eraser,
    eraser: EraserOptions,
    prune: PruneOptions,
    seed: int,
    cache: Cache,
) -> tuple[Eraser, Mask]:
    """The control of every mask: as many weights in every layer as P-X prunes, drawn at random."""
    from excise.masks.fixed import random_mask

    support = _prunable(concept, model, trajectories, sensitivity, eraser, prune, seed, cache)
    pruned = random_mask(learned.pruned, support, seed)
    weights = _tuned(concept, model, trajectories, adversarial, learned, pruned, eraser, prune, seed, cache, "random")
    return _other_mask(learned, weights, pruned, "random")


def _prunable(concept, model, trajectories, sensitivity, eraser, prune, seed, cache) -> dict:
    """Where a learned mask may prune, and so any other that is held against it."""
    from excise.erasers.finetune import prunable
    from excise.masks import mask_support

    base = open_model(model)
    material = open_material(base, trajectories, concept)
    prepared = _prepared(cache, model, trajectories, material, eraser, seed)
    method = make_method(eraser).prepare(base, eraser, material, seed, prepared, eraser.method)
    return prunable(base, method, material, mask_support(base.denoiser, prune, sensitivity))[0]


def _tuned(
    concept, model, trajectories, adversarial, learned: Eraser, pruned, eraser, prune, seed, cache, kind: str
) -> dict:
    """The weights that stay under a fixed mask: trained along as P-X's are, or P-X's own where those are frozen."""
    lr = prune.rate_of_weights(eraser.lr)
    if not lr:
        return learned.weights  # what the method solved for
    title = f"{learned.header['variant']}_{kind}"
    given = (concept, model, trajectories, adversarial, eraser, prune, seed, cache)
    return _train_free(*given, "under-mask", title, lr, pruned)[0]


def _train_free(
    concept, model, trajectories, adversarial, eraser, prune, seed, cache, what: str, title: str, lr: float, pruned=None
) -> tuple[dict, list[dict]]:
    """P-X's parameters, steps, retain term and prompts, and no mask to learn; under a fixed one if given."""
    from excise.erasers.finetune import train_weights

    base = open_model(model)
    material = open_material(base, trajectories, concept, adversarial if prune.adversarial else None)
    inputs = {"banks": _bank_names(trajectories), "words": vars(material.words), "adversarial": material.adversarial}
    inputs |= {"options": eraser, "prune": prune, "seed": seed, "lr": lr}
    inputs |= {} if pruned is None else {"pruned": pruned}
    folder = cache.folder(what, eraser_code(eraser), model=model, **inputs)
    prepared = _prepared(cache, model, trajectories, material, eraser, seed)
    method = make_method(eraser).prepare(base, eraser, material, seed, prepared, eraser.method)
    last = (prune.group, prune.steps, prune.retain_weight, material, seed, folder, title, pruned)
    return train_weights(base, method, eraser.model_copy(update={"lr": lr}), *last)


def _other_mask(learned: Eraser, weights: dict, pruned: dict, kind: str) -> tuple[Eraser, Mask]:
    """P-X with another mask."""
    header = learned.header | {"variant": f"{learned.header['variant']}_{kind}"}
    made = Eraser(header, weights, pruned)
    return made, made.mask


def train_plus(
    concept: dict,
    model: dict,
    trajectories: dict,
    adversarial: pd.DataFrame,
    eraser: EraserOptions,
    prune: PruneOptions,
    seed: int,
    cache: Cache,
    run_info: dict,
) -> tuple[Eraser, list[dict]]:
    """Eraser X+, the control of the mask: P-X's parameters, steps, retain term and adversarial prompts, and no mask."""
    name = f"{eraser.method}_plus"
    given = (concept, model, trajectories, adversarial, eraser, prune, seed, cache)
    # the control of frozen weights is the eraser's own training: without a mask something has to move
    lr = prune.rate_of_weights(eraser.lr) or eraser.lr
    weights, losses = _train_free(*given, "plus", name, lr)
    options = {
        "eraser": eraser.model_dump(mode="json"),
        "steps": prune.steps,
        "group": prune.group,
        "retain_weight": prune.retain_weight,
        "adversarial": prune.adversarial,
    }
    header = _header(eraser.method, name, concept, model, options, seed, run_info, trajectories.get("prompts"))
    return Eraser(header, weights), losses


# shared by the nodes of this and the next stage ----------------------------------------------------------------------
def adversarial_states(model, adversarial: pd.DataFrame) -> torch.Tensor:
    """States of adversarial prompts; one that was not attacked keeps its plain words, those that the model reads."""
    from excise.images.tokens import states_of_tokens

    plain = model.tokenizer(adversarial["prompt"].tolist(), add_special_tokens=False).input_ids
    plain = [words[: model.room] for words in plain]
    contents = [list(ids) if len(ids) else words for ids, words in zip(adversarial["token_ids"], plain, strict=True)]
    return states_of_tokens(model, contents, adversarial["embedding"].tolist())


def _spaced(bank, count: int, prompts: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Evenly spaced timesteps of a bank and the latents of its first prompts there."""
    import torch

    steps = torch.linspace(0, len(bank.times) - 1, count + 2).round().long()[1:-1]
    return bank.times[steps], bank.latents[steps, :prompts]


def measure(
    model, first, second, trajectories: dict, neurons: NeuronOptions, prune: PruneOptions, bank: str = "concept"
) -> dict:
    """Activations under two conditions at a bank's latents."""
    from excise.neurons import collect_activations, find_units

    times, latents = _spaced(open_bank(model, trajectories, bank), neurons.timesteps, len(first))
    units = find_units(model.denoiser, neurons.values)
    return collect_activations(model, units, first, second, times, latents, min(prune.bins, len(times)), neurons.batch)


def _prepared(cache: Cache, model: dict, trajectories: dict, material, eraser: EraserOptions, seed: int) -> Path:
    """What X, X+ and P-X find out before training is found out once."""
    inputs = {"banks": _bank_names(trajectories), "words": vars(material.words), "options": eraser, "seed": seed}
    return cache.folder("prepared", eraser_code(eraser), model=model, **inputs)


def eraser_code(eraser: EraserOptions) -> tuple[str, ...]:
    """The modules that decide what an eraser becomes."""
    return *CODE, *code_of(type(make_method(eraser)))


def _bank_names(trajectories: dict) -> dict:
    """The fingerprints of the banks that training reads: their folders' names."""
    return {k: Path(v).parent.name for k, v in trajectories.items() if k not in ("test", "prompts", "asked")}


def _header(
    method: str,
    variant: str,
    concept: dict,
    model: dict,
    options: dict,
    seed: int,
    run_info: dict,
    prompts: str | None,
) -> dict:
    """What an eraser file says of itself; ``prompts`` is the fingerprint of the table that it learned from."""
    return {
        "method": method,
        "variant": variant,
        "concept": concept["name"],
        "base": {"name": model["name"], "sha256": model["sha256"]},
        "options": options,
        "seed": seed,
        "versions": run_info["versions"],
        "run_id": run_info["id"],
        "made_of": made_of(run_info, concept, prompts),
    }
