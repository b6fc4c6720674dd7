"""Makes a study's rows; what several rows share is made once and kept in the cache: work goes on after a stop."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from excise.attacks import AttackOptions, total
from excise.cache import Cache, fingerprint
from excise.concepts import Concept
from excise.erasers import Eraser, EraserOptions
from excise.images import DrawOptions, ImageSet
from excise.masks import PruneOptions
from excise.models import ModelSpec, find_folder
from excise.pipelines.erase import nodes as erase
from excise.pipelines.evaluate import nodes as evaluate
from excise.pipelines.names import PLAIN
from excise.pipelines.prepare.nodes import find_concept, identify_model, make_prompts
from excise.prompts import PromptOptions
from excise.provenance.code import code_of_node

from .plan import NEVER_SAW, NOTHING, SILENCED, UNAIDED, Cell, Silence

# What these make decides a row by its content, whatever code made it: the prompts, the words that attacks may use, the
# concept and the model. What people see of a run changes no number.
BY_CONTENT = (
    "excise.prompts",
    "excise.pipelines.prepare",
    "excise.models.hub",
    "excise.models.identity",
    "excise.reports",
)


def device_name(device) -> str:
    """What a row was made on."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_mb() -> float:
    """The most memory that this process has taken so far, on the device where it computes."""
    import resource

    import torch

    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def spent_by(adversarial: pd.DataFrame, plain: pd.DataFrame, both: pd.DataFrame) -> dict:
    """What an attack cost over all prompts, and what it found on the way.

    Returns:
        threat_model; gradient_steps, model_evaluations (the attack's own), images_judged while attacking and
        sampling_evaluations (what drawing those took); ``found``: for each prompt in
        the table's order how many images it took, -1 where the attack never saw a hit, -2 where it was dropped (0: the
        prompt as it stands was one); ``looks``: the most images judged of one prompt; ``confirmed``: of the
        ``found_new`` that the attack found and that are no hit as they stand, how many are hits on fresh seeds;
        ``readable``: of how many of those not dropped the text spells the tokens; ``readable_hits``: the hits that
        somebody could type. Costs that prompts share (``shared``) are counted once.
    """
    from excise.metrics.rates import readable_hits

    asked = adversarial.set_index("prompt_id").loc[plain["prompt_id"]]
    took = asked["images"].where(asked["found"] != "", -1).mask(asked["dropped"] != "", -2)
    new = (asked["found"] == "attack").to_numpy() & (plain["verdict"] != "hit").to_numpy()
    tried = asked[asked["dropped"] == ""]
    return {
        "threat_model": str(adversarial["threat_model"].iloc[0]),
        **{k: total(adversarial, k) for k in ("gradient_steps", "model_evaluations", "sampling_evaluations")},
        "shared": bool(adversarial["shared"].all()),
        "images_judged": int(adversarial["images"].sum()),
        "looks": int(adversarial["images"].max()),
        "found": [int(v) for v in took],
        "found_new": int(new.sum()),
        "confirmed": int((new & (both["verdict"] == "hit").to_numpy()).sum()),
        "readable": int(tried["retokenises"].sum()),
        "readable_hits": readable_hits(plain, both, asked.index[asked["retokenises"]]),
    }


LETTERS = {"hit": "h", "clear": ".", "failed": "f", "dropped": "d"}


@dataclass(frozen=True)
class Settings:
    """All parameters that a row depends on."""

    model: ModelSpec
    prompts: PromptOptions
    erasers: dict[str, EraserOptions]
    attacks: dict[str, AttackOptions]
    prune: PruneOptions
    neurons: erase.NeuronOptions
    draw: DrawOptions
    never_saw: dict[str, str]
    silence: Silence | None
    seed: int
    learning: AttackOptions | None = None  # the attack that P-X learns against, if it is not the first

    @property
    def fit_attack(self) -> AttackOptions:
        return self.learning or next(iter(self.attacks.values()))


@dataclass
class Workshop:
    """Everything of one concept.

    Args:
        concepts: all concepts' descriptions.
        tuning: the tune split takes the place of the test split, which is then not read at all.
    """

    name: str
    settings: Settings
    concepts: dict
    cache: Cache
    run_info: dict
    tuning: bool = False
    _kept: dict = field(default_factory=dict)

    # what all rows start from ----------------------------------------------------------------------------------------
    @cached_property
    def concept(self) -> dict:
        return find_concept(self.concepts, self.name)

    @cached_property
    def base(self) -> dict:
        return identify_model(self.settings.model)

    @cached_property
    def prompts(self) -> pd.DataFrame:
        table = make_prompts(self.concept, self.settings.prompts, self.settings.seed)[0]
        if self.tuning:
            table = table[table["split"] != "test"].replace({"split": {"tune": "test"}}).reset_index(drop=True)
        return table

    @cached_property
    def _prompts_mark(self) -> str:
        return fingerprint(self.prompts)

    @cached_property
    def _vocabulary_mark(self) -> str:
        from excise.attacks.search.slots import vocabulary

        return fingerprint(vocabulary(erase.open_model(self.base)))

    @cached_property
    def _judges_mark(self) -> str:
        from excise.judges import make_judge

        judges = [make_judge(spec) for spec in Concept(**self.concept).judges]
        return fingerprint([[j.name, j.version, j.sha256] for j in judges])

    def fingerprint(self, cell: Cell) -> str:
        """Of all that decides a row: parameters, prompts, model, code."""
        return fingerprint(self.parts(cell))

    def parts(self, cell: Cell) -> dict[str, str]:
        """What decides a row, each with a fingerprint of its own, so that a stale row can say what has changed."""
        s = self.settings
        model = self.model(cell)
        inputs: dict[str, Any] = {
            "cell": list(cell),
            "concept": self.concept,
            "prompts": self._prompts_mark,
            "vocabulary": self._vocabulary_mark,
            "draw": s.draw,
        }
        inputs |= {"judges": self._judges_mark, "neurons": s.neurons, "prune": s.prune}
        inputs["model"] = {key: model[key] for key in ("sha256", "dtype", "pixels")}
        inputs["eraser"] = s.erasers.get(cell.eraser, cell.eraser)
        inputs["silence"] = s.silence if cell.eraser == SILENCED else None
        # the attack on X decides P-X, also where the row is about plain prompts
        inputs["attacks"] = self._attacks(cell)
        parts = {name: fingerprint(value)[:12] for name, value in inputs.items()}
        code = code_of_node(Workshop, self._methods(cell), BY_CONTENT)
        return parts | {f"code of {room}": digest for room, digest in code.items()}

    def _methods(self, cell: Cell) -> list[type]:
        """The classes that a row is made with: eraser, attacks, judges."""
        from excise.attacks import make_attack
        from excise.erasers import make_method
        from excise.judges import make_judge

        s, concept = self.settings, Concept(**self.concept)
        made: list = [make_judge(j) for j in concept.judges]
        made += [make_attack(options) for options in self._attacks(cell)]
        if cell.eraser in s.erasers:
            made.append(make_method(s.erasers[cell.eraser]))
        return [type(one) for one in made]

    def _attacks(self, cell: Cell) -> list[AttackOptions]:
        """What X is attacked with for P-X to learn, and what the row is about."""
        s = self.settings
        return [s.fit_attack, *([s.attacks[cell.attack]] if cell.attack != PLAIN else [])]

    def model(self, cell: Cell) -> dict:
        if cell.eraser != NEVER_SAW:
            return self.base
        path = self.settings.never_saw[self.name]
        whole = (find_folder(path) / "model_index.json").exists()
        spec = self.settings.model.model_copy(update={"path" if whole else "unet": path})
        return self._once(("model",), lambda: identify_model(spec))

    # erasers ---------------------------------------------------------------------------------------------------------
    def eraser(self, cell: Cell) -> Eraser:
        """The eraser of a cell; X and P-X of a seed are made for the variants that need them."""
        if cell.eraser in (NOTHING, NEVER_SAW):
            return erase.no_eraser(self.concept, self.model(cell), self.run_info)
        make = self._silence if cell.eraser == SILENCED else self._make
        return self._once(("eraser", cell.eraser, cell.variant, cell.seed), lambda: make(cell))

    def _silence(self, cell: Cell) -> Eraser:
        """The base model without its concept neurons, or without as many others; a mask, and nothing trained."""
        from dataclasses import replace

        from excise.neurons import find_units, mask_of_neurons, random_neurons, top_neurons

        s = self.settings
        calm = erase.measure_concept(self.base, self.prompts, self.trajectories(cell.eraser), s.neurons, s.prune)
        # correlation with the concept is all that is read here, and no attack has a part in it
        table = erase.rank_neurons(self.base, calm, calm, s.neurons, s.prune)
        chosen = top_neurons(table, s.silence.share)
        if cell.variant == "random":
            chosen = random_neurons(table, chosen, cell.seed)
        denoiser = erase.open_model(self.base).denoiser
        pruned = mask_of_neurons(find_units(denoiser, s.neurons.values), chosen, denoiser)
        nothing = erase.no_eraser(self.concept, self.base, self.run_info)
        return replace(nothing, header=nothing.header | {"variant": f"{SILENCED}_{cell.variant}"}, pruned=pruned)

    def _make(self, cell: Cell) -> Eraser:
        s, options, seed = self.settings, self.settings.erasers[cell.eraser], cell.seed
        given = (self.concept, self.base, self.trajectories(cell.eraser))
        last = (seed, self.cache, self.run_info)
        if cell.variant == "unpruned":
            return erase.train_unpruned(*given, options, *last)[0]
        adversarial = self.adversarial_fit(cell)
        kind = cell.variant.removesuffix(UNAIDED)
        prune = s.prune if kind == cell.variant else s.prune.model_copy(update={"adversarial": False})
        if kind == "plus":
            return erase.train_plus(*given, adversarial, options, prune, *last)[0]
        ranked, scores = self.ranked(cell)
        if kind == "learned":
            return erase.train_learned(*given, adversarial, ranked, scores, options, prune, *last)[0]
        learned = self.eraser(cell._replace(variant="learned"))
        if cell.variant == "scored":
            return erase.prune_by_score(
                *given, adversarial, ranked, learned, scores, options, s.prune, seed, self.cache
            )[0]
        return erase.prune_at_random(*given, adversarial, ranked, learned, options, s.prune, seed, self.cache)[0]

    def trajectories(self, eraser: str) -> dict:
        options = self.settings.erasers.get(eraser) or next(iter(self.settings.erasers.values()))

        def sample() -> dict:
            with self.cache.alone(f"trajectories-{self.name}"):  # of processes side by side, one samples for all
                return erase.sample_trajectories(self.base, self.prompts, options, self.cache)

        return self._once(("trajectories", eraser), sample)

    def adversarial_fit(self, cell: Cell) -> pd.DataFrame:
        """The attack on X, fit prompts."""
        x = cell._replace(variant="unpruned")
        s = self.settings
        given = (self.prompts, self.trajectories(cell.eraser), s.fit_attack, self.cache, "fit", self.concept, s.draw)
        return self._once(
            ("fit", cell.eraser, cell.seed), lambda: erase.attack_eraser(self.base, self.eraser(x), *given)
        )

    def ranked(self, cell: Cell) -> tuple[pd.DataFrame, dict]:
        """Neurons ranked by what the attack on X wakes, and the scores of weights."""
        return self._once(("ranked", cell.eraser, cell.seed), lambda: self._rank(cell))

    def _rank(self, cell: Cell) -> tuple[pd.DataFrame, dict]:
        s, paths = self.settings, self.trajectories(cell.eraser)
        x = self.eraser(cell._replace(variant="unpruned"))
        how = (s.neurons, s.prune)
        calm = erase.measure_concept(self.base, self.prompts, paths, *how)
        woken = erase.measure_attacked(self.base, x, self.adversarial_fit(cell), paths, *how)
        table = erase.rank_neurons(self.base, calm, woken, *how)
        return table, erase.score_masks(self.base, self.prompts, paths, table, *how)

    # rows ------------------------------------------------------------------------------------------------------------
    def row(self, cell: Cell) -> dict:
        """Draw, attack, judge, count: one row of the results, without its fingerprint."""
        start = time.perf_counter()
        eraser, model = self.eraser(cell), self.model(cell)
        plain, kept = self._plain(cell)
        verdicts, measured, spent = plain, {}, {}
        if cell.attack != PLAIN:
            adversarial, verdicts = self._attacked(cell)
            measured = self._neurons(cell, adversarial)
            spent = spent_by(adversarial, plain["first"], verdicts["first"])
            spent |= self._typed(cell, adversarial, plain["first"], verdicts["first"])
        from excise.metrics.rates import rate_of

        first = verdicts["first"]
        rate, near, far = (rate_of(v) for v in (first, kept["retain_near"], kept["retain_far"]))
        return {
            **{"concept": self.name, "kind": self.concept["kind"], "eraser": cell.eraser, "variant": cell.variant},
            **{"attack": cell.attack, "seed": cell.seed},
            **({"made_on": cell.made_on} if cell.made_on else {}),
            **{k: getattr(rate, k) for k in ("n", "hits", "any_hits", "dropped", "failed")},
            **{"retain_near": near.hits, "retain_far": far.hits, "retain_n": near.n + far.n},
            **{"retain_near_n": near.n, "retain_far_n": far.n},
            "retain_verdicts": "".join(LETTERS[v] for name in evaluate.RETAIN for v in kept[name]["verdict"]),
            **({"collateral": self._collateral(kept)} if cell.attack == PLAIN else {}),
            "prune_rate": round(eraser.mask.prune_rate, 6) if eraser.pruned else None,
            "mask_bytes": eraser.mask.nbytes if eraser.pruned else None,
            "reactivation": measured.get("reactivation"),
            "sensitivity": measured.get("sensitivity"),
            "reactivation_plain": measured.get("reactivation_plain"),
            "model": model["sha256"],
            # prompt by prompt, in the table's order, for paired comparisons: h hit, . clear, f failed, d dropped
            "verdicts": "".join(LETTERS[v] for v in first["verdict"]),
            **self._second_opinion(verdicts.get("second")),
            **spent,
            "device": device_name(erase.open_model(model).device),
            "seconds": round(time.perf_counter() - start, 1),
            "peak_mb": peak_mb(),
            "provenance": self._provenance(eraser) | self._made_from(cell),
            "made_of": self.parts(cell),
        }

    def _collateral(self, kept: dict[str, pd.DataFrame]) -> list[dict]:
        """How each thing that must survive fared, and how far it lies from the concept: 1 less the cosine of its first
        word and the concept's fit words, as vectors of the base model's text encoder."""
        far, things = self._once(("distances",), self._distances), self._things()
        test = self.prompts[self.prompts["split"] == "test"].set_index("prompt_id")["label"]
        seen = pd.concat([kept[name].assign(set=name) for name in evaluate.RETAIN])
        seen = seen[seen["verdict"].isin(["hit", "clear"])]
        named = [things[kind, test[prompt]] for kind, prompt in zip(seen["set"], seen["prompt_id"], strict=True)]
        right = seen["verdict"].eq("hit").groupby(pd.Series(named, dtype=object).to_numpy(), sort=False)
        return [
            {"label": str(label), "distance": round(far[label], 4), "right": int(part.sum()), "n": len(part)}
            for label, part in right
        ]

    def _things(self) -> dict[tuple[str, str], str]:
        # how a row calls set and label: a style asked for by name is another thing than that style where none is named
        concept = Concept(**self.concept)
        near, far = concept.retain_near, concept.retain_far
        return {
            (f"retain_{kind}", label): f"{label} ({kind})" if label in near and label in far else label
            for kind, group in (("near", near), ("far", far))
            for label in group
        }

    def _distances(self) -> dict[str, float]:
        import torch

        concept, model = Concept(**self.concept), erase.open_model(self.base)
        things = {name: getattr(concept, kind)[label] for (kind, label), name in self._things().items()}
        with torch.no_grad():
            vectors = {
                name: torch.nn.functional.normalize(model.pooled_tokens(model.tokenize(words)), dim=-1).mean(0)
                for name, words in [("", concept.target.fit), *((label, w[:1]) for label, w in things.items())]
            }
        own = vectors.pop("")
        return {k: 1 - float(torch.nn.functional.cosine_similarity(v, own, dim=0)) for k, v in vectors.items()}

    def _provenance(self, eraser: Eraser) -> dict:
        """What the row was made of, besides its fingerprint: hashes, versions, seeds."""
        from excise.judges import make_judge

        concept = Concept(**self.concept)
        roles = {"first": concept.judge, "second": concept.second_judge, "retain": concept.retain_judge}
        judges = {role: (make_judge(spec), spec) for role, spec in roles.items() if spec is not None}
        return {
            "prompts": self._prompts_mark,
            **({"eraser": eraser.sha256} if eraser.weights or eraser.pruned else {}),
            "judges": {
                role: {
                    **{"name": j.name, "version": j.version, "sha256": j.sha256},
                    **{"labels": list(j.resolve(s.labels)), "at": s.threshold, "options": s.options},
                }
                for role, (j, s) in judges.items()
            },
            "seed": self.settings.seed,
            "versions": self.run_info["versions"],
            "run": self.run_info["id"],
            **(self.run_info.get("environment") or {}),  # hashes of code and lock file, the device
        }

    def _made_from(self, cell: Cell) -> dict:
        """Which erasers this one was made from, by variant: X, and for masks as large as the learned one that one."""
        if cell.eraser not in self.settings.erasers or cell.variant == "unpruned":
            return {}
        copied = ["learned"] if cell.variant in ("scored", "random") else []
        return {"made_from": {v: self.eraser(cell._replace(variant=v)).sha256 for v in ("unpruned", *copied)}}

    def _second_opinion(self, verdicts: pd.DataFrame | None) -> dict:
        """Of a concept that has a second judge."""
        from excise.metrics.rates import rate_of

        if verdicts is None:
            return {}
        rate, judge = rate_of(verdicts), Concept(**self.concept).second_judge
        found = {"second_judge": judge.name if judge else "", "second_n": rate.n, "second_hits": rate.hits}
        return found | {"second_verdicts": "".join(LETTERS[v] for v in verdicts["verdict"])}

    def _plain(self, cell: Cell) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
        return self._once(("plain", cell.eraser, cell.variant, cell.seed), lambda: self._judge_plain(cell))

    def _judge_plain(self, cell: Cell) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
        """Verdicts by each judge, and on what must survive."""
        from excise.judges.judging import right
        from excise.metrics.utility import retain_verdicts

        images = evaluate.draw_plain(
            self.concept, self.model(cell), self.eraser(cell), self.prompts, self.settings.draw, self.cache
        )
        described, test = Concept(**self.concept), self.prompts[self.prompts["split"] == "test"]
        verdicts = self._verdicts(images)
        seen = evaluate.judge_retain(self.concept, images, self.cache)
        kept = {}
        for name in evaluate.RETAIN:
            rows = test[test["set"] == name]
            shown = right(seen, rows.set_index("prompt_id")["label"], described.retain_judge.threshold)
            kept[name] = retain_verdicts(shown.rename(columns={"hit": "right"}), rows["prompt_id"])
        return verdicts, kept

    def _attacked(self, cell: Cell) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
        """Adversarial prompts, and verdicts by each judge."""
        from excise.metrics.rates import either

        s, model, eraser = self.settings, self.model(cell), self.eraser(cell)
        # the pictures that an attacker imitates are the base model's own, also against a model that cannot draw them
        attacked = self.eraser(cell._replace(variant=cell.made_on)) if cell.made_on else eraser
        adversarial = evaluate.attack_test_prompts(
            self.concept,
            model,
            attacked,
            self.prompts,
            self.trajectories(cell.eraser),
            s.attacks[cell.attack],
            s.draw,
            self.cache,
        )
        images = evaluate.draw_attacked(self.concept, model, eraser, self.prompts, adversarial, s.draw, self.cache)
        dropped = adversarial[adversarial["dropped"] != ""]["prompt_id"]
        plain = self._plain(cell)[0]
        return adversarial, {k: either(plain[k], v) for k, v in self._verdicts(images, dropped).items()}

    def _typed(self, cell: Cell, adversarial: pd.DataFrame, plain: pd.DataFrame, both: pd.DataFrame) -> dict:
        """Hits where the text of the tokens is typed; of attacks that find words."""
        from excise.metrics.rates import rate_of
        from excise.pipelines.evaluate.typed import typed_of

        worn = (self.model(cell), self.eraser(cell), self.prompts, adversarial)
        verdicts = typed_of(self.concept, *worn, plain, both, self.settings.draw, self.cache)
        if verdicts is None:
            return {}
        rate, told = rate_of(verdicts), "".join(LETTERS[v] for v in verdicts["verdict"])
        return {"typed_n": rate.n, "typed_hits": rate.hits, "typed_verdicts": told}

    def _neurons(self, cell: Cell, adversarial: pd.DataFrame) -> dict:
        """Reactivation and sensitivity under this attack; of erasers only, whose attack on X ranks the neurons."""
        s = self.settings
        if cell.eraser not in s.erasers:
            return {}
        paths = self.trajectories(cell.eraser)
        reference = self._once(
            ("reference", cell.eraser),
            lambda: evaluate.measure_reference(self.base, self.prompts, paths, s.neurons, s.prune),
        )
        table = evaluate.measure_reactivation(
            self.base,
            self.eraser(cell),
            self.prompts,
            adversarial,
            paths,
            self.ranked(cell)[0],
            reference,
            s.neurons,
            s.prune,
            s.attacks[cell.attack],
        )
        attacked, plain = (table[(table["attack"] == PLAIN) == asked].iloc[0] for asked in (False, True))
        told = {"reactivation": attacked, "sensitivity": attacked, "reactivation_plain": plain}
        values = {k: row[k.removesuffix("_plain")] for k, row in told.items()}
        return {k: None if pd.isna(v) else round(float(v), 6) for k, v in values.items()}

    def _verdicts(self, images: ImageSet, dropped=()) -> dict[str, pd.DataFrame]:
        """By the concept's judge (``first``), and by its second one where it has one."""
        from excise.judges import make_judge
        from excise.judges.judging import hits
        from excise.metrics.rates import prompt_verdicts

        concept, found = Concept(**self.concept), {}
        target = erase.rows_of(self.prompts, ["target"], "test")["prompt_id"]
        asked = {
            "first": (concept.judge, evaluate.judge_concept),
            "second": (concept.second_judge, evaluate.judge_again),
        }
        for name, (spec, judge) in asked.items():
            if spec is not None:
                seen = judge(self.concept, images, self.cache)
                shown = hits(seen[seen["set"] == "target"], make_judge(spec).resolve(spec.labels), spec.threshold)
                found[name] = prompt_verdicts(shown, target, dropped)
        return found

    def _once(self, key: tuple, make):
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]
