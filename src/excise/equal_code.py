"""Changes of code that change no bit of any result that was measured: for keys the new code counts as the old one.

A key of cached work or of a committed row holds a fingerprint of the code that decides it, and any other change of that
code makes the work stale. Here stands what is known to compute the same, bit for bit: the code as it reads now, and as
it read when the rows were made. A test holds each pair to it. An entry goes when the rows that it keeps have been made
anew.

``EQUAL`` changes no bit anywhere: it is faster, refuses more, or puts more into a row beside what was there (the
erasers that it was made from, hits of typed text); rows that lack it are not made again for that, and pages say so.
``EQUAL_FROM_SIX`` changes none in training with six rows a step or more, as all committed rows have. With fewer the old
code was wrong (of one row a step none was ever adversarial, of fewer than six none was ever on the empty prompt) and
the bits differ: there, cached work of the old code is not taken over (``learns_from_few``). Keys that do not know of
how many rows a step they are keep it: those of a study's rows, and the records of nodes that ``kedro stale`` compares.
Whoever made such rows outside this repository, or keeps erasers so trained, has to make them again by hand.
``EQUAL_IN_UNETS`` changes none where the denoiser is a U-Net, as that of all committed rows is; what is cached of any
model but those that ship is made anew. ``EQUAL_IN_FLOAT32`` changes none of a model in float32 or float64, as that of
all committed rows is. ``EQUAL_OF_LABELS_ONCE`` changes none where no label is both near and far. The committed rows of
the one concept that has such a label were made anew where a method reads words to keep, and split by their verdicts in
what they say of things that survive; cached erasers name the words that they were made of.
``EQUAL_WITHOUT_OWN_GUIDANCE`` changes none where no prompt has a guidance of its own, as none of the committed rows'
has; cached trajectories name the guidance that they were sampled at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Pairs = tuple[tuple[str, str], ...]

EQUAL: Pairs = (
    (  # excise.models.memory: refuses in other words
        """    for place, group, batch in use.trained:
""",
        """    for eraser, group, batch in use.trained:
""",
    ),
    (  # excise.models.memory: refuses in other words
        """activations=kept, trains=place)
""",
        """activations=kept, trains=eraser)
""",
    ),
    (  # excise.models.memory: refuses in other words
        """        if needed.trains.startswith("attacks."):
            ways.append(f"a smaller {needed.trains}.batch or {needed.trains}.options.rank above 0")
        elif needed.trains:
            ways.append(f"a smaller {needed.trains}.batch or {needed.trains}.group=kv")
        elif use.attacked > 1:
            ways.append("a smaller batch of the attack")
        if needed.trains:
            parts += f", {needed.training / GB:.1f} GB to train with {needed.trains}"
""",
        """        if needed.trains:
            ways.append(f"a smaller erasers.{needed.trains}.batch or erasers.{needed.trains}.group=kv")
            parts += f", {needed.training / GB:.1f} GB to train {needed.trains}"
""",
    ),
    (  # excise.erasers.registry: refuses more
        """    location: str
    maskable: bool
    grouped: bool = True


""",
        """    location: str
    maskable: bool


""",
    ),
    (  # excise.erasers.registry: refuses more
        """def register(name: str, location: str, maskable: bool = True, grouped: bool = True) -> None:
""",
        """def register(name: str, location: str, maskable: bool = True) -> None:
""",
    ),
    (  # excise.erasers.registry: refuses more
        """    ERASERS[name] = Registered(location, maskable, grouped)
""",
        """    ERASERS[name] = Registered(location, maskable)
""",
    ),
    (  # excise.erasers.registry: refuses more
        """    refuse_unknown("eraser", options.method, ERASERS)
    if options.group and not ERASERS[options.method].grouped:
        raise UserError(f"erasers.{options.method}.group: this method has parameters of its own, leave it out.")
    try:
""",
        """    refuse_unknown("eraser", options.method, ERASERS)
    try:
""",
    ),
    (  # excise.concepts.concept: refuses more
        """        filled = (self.slots, self.retain_near, self.retain_far)
        for name, words in (item for group in filled for item in group.items()):
""",
        """        for name, words in {**self.slots, **self.retain_near, **self.retain_far}.items():
""",
    ),
    (  # excise.attacks.unlearndiffatk.attack: what is announced beforehand
        """        scored = self.checks * (1 + -(-steps // self.check_every))  # plain prompt, candidates: forward alone
        return steps + scored / 3

    def start(self, case: Case) -> Search:
        from .simplex_search""",
        """        return steps

    def start(self, case: Case) -> Search:
        from .simplex_search""",
    ),
    (  # excise.metrics.utility: the CLIP score over prompts, in reports alone
        """def clip_score(
    image_features: np.ndarray, text_features: np.ndarray, features: str, prompts: Iterable[str] | None = None
) -> Mean:
""",
        """def clip_score(image_features: np.ndarray, text_features: np.ndarray, features: str) -> Mean:
""",
    ),
    (  # excise.metrics.utility: the CLIP score over prompts, in reports alone
        """    cosines = (images * texts).sum(1) / norms
    if prompts is not None:
        cosines = pd.Series(cosines).groupby(list(prompts), sort=False).mean().to_numpy()
""",
        """    cosines = (images * texts).sum(1) / norms
""",
    ),
    (  # excise.images.drawing: no bar where the environment asks for none
        """    for number, batch in tqdm(batches.items(), desc=title, mininterval=2.0) if batches else ():
""",
        """    for number, batch in tqdm(batches.items(), desc=title, mininterval=2.0, disable=not batches):
""",
    ),
    (  # excise.judges.judging: the same
        """    quiet = {"disable": True} if len(manifest) < LONG else {}  # else as the environment says
    with tqdm(total=len(manifest), desc=f"judging with {judge.name}", unit="image", **quiet) as bar:
""",
        """    short = len(manifest) < LONG
    with tqdm(total=len(manifest), desc=f"judging with {judge.name}", unit="image", disable=short) as bar:
""",
    ),
    (  # excise.models.layers: value projections without the keys are groups, too
        """ParameterGroup = Literal["esd-x", "esd-x-strict", "esd-u", "ffn", "kv", "v", "ffn+kv", "ffn+v", "full"]
""",
        """ParameterGroup = Literal["esd-x", "esd-x-strict", "esd-u", "ffn", "kv", "ffn+kv", "full"]
""",
    ),
    (
        """    v = {f"{c.value}.weight" for c in cross_attentions(denoiser)}
    ffn = {f"{n}.weight" for f in feed_forwards""",
        """    ffn = {f"{n}.weight" for f in feed_forwards""",
    ),
    (
        """        "v": lambda n: n in v,
        "ffn+kv": lambda n: n in ffn or n in kv,
        "ffn+v": lambda n: n in ffn or n in v,
""",
        """        "ffn+kv": lambda n: n in ffn or n in kv,
""",
    ),
    (  # excise.masks.options: the same
        """    group: Literal["ffn", "kv", "v", "ffn+kv", "ffn+v"] = "ffn+kv"
""",
        """    group: Literal["ffn", "kv", "ffn+kv"] = "ffn+kv"
""",
    ),
    (  # excise.attacks.gcg.swaps: only swaps that gain something are read back
        """            closer = losses < rows["loss"].unsqueeze(1)  # what gains nothing need not be read back
            if closer.any():
                closer = closer.masked_scatter(closer, self._readable(tried[closer].unsqueeze(0)))
            losses = losses.masked_fill(~closer, float("inf"))
""",
        """            losses = losses.masked_fill(~self._readable(tried), float("inf"))
""",
    ),
    (  # excise.masks.options: a stretch with which no gate could close is refused
        """    @model_validator(mode="after")
    def _gates_can_close(self) -> PruneOptions:
        if not self.stretch[0] < 0 < 1 < self.stretch[1]:
            raise ValueError(f"stretch is {self.stretch}: it must begin below 0 and end above 1")
        return self

    @model_validator(mode="after")
    def _rate_of_top_k(self) -> PruneOptions:
""",
        """    @model_validator(mode="after")
    def _rate_of_top_k(self) -> PruneOptions:
""",
    ),
    (  # excise.neurons.correlation: what is no number ranks no neuron
        """        correlation = concept_correlation(concept, unit.name).mean(0)
        if not torch.isfinite(correlation).all():
            raise ValueError(f"activations of {unit.name} are no finite numbers, or there are none: nothing ranks them")
""",
        """        correlation = concept_correlation(concept, unit.name).mean(0)
""",
    ),
    (  # excise.masks.fixed: nor a weight
        """    if not torch.isfinite(flat).all():
        raise ValueError("scores that are no finite numbers choose no weights")
    chosen = torch.zeros(len(flat), dtype=torch.bool)
    chosen[flat.topk(round(rate * len(flat))).indices] = True
""",
        """    chosen = torch.zeros(len(flat), dtype=torch.bool)
    chosen[flat.topk(round(rate * len(flat))).indices] = True
""",
    ),
    (  # excise.masks.mask: masks of two models are not united
        """        names = sorted({*self.pruned, *other.pruned})
        for name in self.pruned.keys() & other.pruned.keys():
            if self.pruned[name].shape != other.pruned[name].shape:
                raise ValueError(f"masks of two models: {name} has another shape in each")
""",
        """        names = sorted({*self.pruned, *other.pruned})
""",
    ),
    (  # excise.training: a state may be kept at any step, with what a row of losses has so far
        """    ema, start, rows, sums, count = EMA(model, options.ema), 0, [], {}, 0
    if finished(checkpoint):
        start, rows, sums, count = _restore(checkpoint, model, ema, optimizer)
""",
        """    ema, start, rows = EMA(model, options.ema), 0, []
    if finished(checkpoint):
        start, rows = _restore(checkpoint, model, ema, optimizer)
""",
    ),
    (  # the same
        """    saved = time.monotonic()
    model.train()
""",
        """    saved, sums, count = time.monotonic(), {}, 0
    model.train()
""",
    ),
    (  # a loss that is no number ends a training
        """        optimizer.zero_grad(set_to_none=True)
        if not torch.isfinite(losses["loss"]):
            from excise.errors import UserError

            raise UserError(f"{title}: the loss of step {step + 1} is no finite number: set the learning rate lower.")
        losses["loss"].backward()
        torch.nn.utils""",
        """        optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        torch.nn.utils""",
    ),
    (  # the state at any step
        """            sums, count = {}, 0
        if time.monotonic() - saved > options.checkpoint_seconds or step + 1 == options.steps:
            _save(checkpoint, model, ema, optimizer, {"step": step + 1, "rows": rows, "sums": sums, "count": count})
            saved = time.monotonic()
""",
        """            sums, count = {}, 0
            if time.monotonic() - saved > options.checkpoint_seconds or step + 1 == options.steps:
                _save(checkpoint, model, ema, optimizer, step + 1, rows)
                saved = time.monotonic()
""",
    ),
    (  # the same
        """def _save(path: Path, model, ema: EMA, optimizer, told: dict) -> None:
""",
        """def _save(path: Path, model, ema: EMA, optimizer, step: int, rows: list) -> None:
""",
    ),
    (  # the same
        """{k: json.dumps(v) for k, v in told.items()}
""",
        """{"step": str(step), "rows": json.dumps(rows)}
""",
    ),
    (  # the same
        """def _restore(path: Path, model, ema: EMA, optimizer) -> tuple[int, list, dict, int]:
""",
        """def _restore(path: Path, model, ema: EMA, optimizer) -> tuple[int, list]:
""",
    ),
    (  # the same
        """    told = {"sums": {}, "count": 0} | {k: json.loads(v) for k, v in header.items()}
    return told["step"], told["rows"], told["sums"], told["count"]
""",
        """    return int(header["step"]), json.loads(header["rows"])
""",
    ),
    (  # excise.judges: options say that what is set unless one says otherwise is for emoji64
        """    pixels: int = Field(
        32,
        ge=0,
        description="short side to which an image is reduced; 0 leaves it as it is",
        json_schema_extra={"default_is_for": "the small drawings of emoji64"},
    )
""",
        """    pixels: int = Field(32, ge=0, description="short side to which an image is reduced; 0 leaves """
        """it as it is")
""",
    ),
    (  # the same
        """class ProbeOptions(Options):
    file: str = Field("", json_schema_extra={"default_is_for": "the small drawings of emoji64"})
""",
        """class ProbeOptions(Options):
    file: str = ""
""",
    ),
    (  # the same
        """from pydantic import Field, field_validator

from excise.judges.judge import Detection, Judge, Options

from .load""",
        """from pydantic import field_validator

from excise.judges.judge import Detection, Judge, Options

from .load""",
    ),
    (  # the same
        """    folder: str = Field("", json_schema_extra={"default_is_for": "the small drawings of emoji64"})

    @field_validator("labels")
""",
        """    folder: str = ""

    @field_validator("labels")
""",
    ),
    (  # the same
        """from pydantic import Field

from excise.judges.judge import Detection, Judge, Options, file_sha256

SHIPPED""",
        """
from excise.judges.judge import Detection, Judge, Options, file_sha256

SHIPPED""",
    ),
    (  # excise.images.drawing: what a judge failed on while it was drawn is asked again
        """        known = discreet is None or (finished(seen) and not pd.read_parquet(seen)["failed"].any())
        if known and all(finished(folder / job["file"]) for job in batch):
            continue
""",
        """        if all(finished(folder / job["file"]) for job in batch) and (discreet is None or finished(seen)):
            continue
""",
    ),
    (  # excise.pipelines.erase.nodes: a text that is too long for the model is no error where it was left out
        """    plain = [words[: model.room] for words in plain]
    contents = [list(ids) if len(ids) else words for ids""",
        """    contents = [list(ids) if len(ids) else words for ids""",
    ),
    (  # the same: trajectories of other prompts are refused
        """    if trajectories.get("asked", asked_of(prompts)) != asked_of(prompts):
        raise UserError(
            "The prompts were changed since the trajectories were sampled, which an attack compares with: run the "
            "whole job again, or its stage 'erase'."
        )
    rows = rows_of(prompts, ["target"], split)
""",
        """    rows = rows_of(prompts, ["target"], split)
""",
    ),
    (  # the same
        """    base, paths = open_model(model), {"prompts": fingerprint(prompts), "asked": asked_of(prompts)}
""",
        """    base, paths = open_model(model), {"prompts": fingerprint(prompts)}
""",
    ),
    (  # the same
        """if k not in ("test", "prompts", "asked")}""",
        """if k not in ("test", "prompts")}""",
    ),
    (  # the same
        '''def guidance_of(rows: pd.DataFrame, otherwise: float) -> float | list[float]:
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
''',
        """def open_bank(model, trajectories: dict, name: str):
""",
    ),
    (  # excise.pipelines.study_pruning.workshop: rows say which erasers theirs was made from
        """            "provenance": self._provenance(eraser) | self._made_from(cell),
""",
        """            "provenance": self._provenance(eraser),
""",
    ),
    (
        '''    def _made_from(self, cell: Cell) -> dict:
        """Which erasers this one was made from, by variant: X, and for masks as large as the learned one that one."""
        if cell.eraser not in self.settings.erasers or cell.variant == "unpruned":
            return {}
        copied = ["learned"] if cell.variant in ("scored", "random") else []
        return {"made_from": {v: self.eraser(cell._replace(variant=v)).sha256 for v in ("unpruned", *copied)}}

    def _second_opinion(self''',
        """    def _second_opinion(self""",
    ),
    (  # the same: rows count the hits of text that is typed
        """            spent = spent_by(adversarial, plain["first"], verdicts["first"])
            spent |= self._typed(cell, adversarial, plain["first"], verdicts["first"])
""",
        """            spent = spent_by(adversarial, plain["first"], verdicts["first"])
""",
    ),
    (
        '''    def _typed(self, cell: Cell, adversarial: pd.DataFrame, plain: pd.DataFrame, both: pd.DataFrame) -> dict:
        """Hits where the text of the tokens is typed; of attacks that find words."""
        from excise.metrics.rates import rate_of
        from excise.pipelines.evaluate.typed import typed_of

        worn = (self.model(cell), self.eraser(cell), self.prompts, adversarial)
        verdicts = typed_of(self.concept, *worn, plain, both, self.settings.draw, self.cache)
        if verdicts is None:
            return {}
        rate, told = rate_of(verdicts), "".join(LETTERS[v] for v in verdicts["verdict"])
        return {"typed_n": rate.n, "typed_hits": rate.hits, "typed_verdicts": told}

    def _neurons(self, cell: Cell, adversarial: pd.DataFrame) -> dict:''',
        """    def _neurons(self, cell: Cell, adversarial: pd.DataFrame) -> dict:""",
    ),
    (  # excise.models.diffusion: the type is looked up once, and not for every weight
        """            dtype = self.dtype
            given = {name: value.to(dtype) for name, value in replaced.items()}
""",
        """            given = {name: value.to(self.dtype) for name, value in replaced.items()}
""",
    ),
    (  # excise.attacks.search.noise: seeds beyond 9e12 have noise, too, where there was an error
        "manual_seed(((seed + 5) * 1_000_003 + 15) % (2**63)) for seed",
        "manual_seed((seed + 5) * 1_000_003 + 15) for seed",
    ),
    (  # excise.erasers.rece.method: what cannot be is refused before anything is computed
        '''    round_preserve: float = Field(0.1, ge=0, description="s_p of the rounds' edits")

    def refuses(self, model) -> str:
        """Why it cannot work on this model; nothing where it can."""
        if set(model.family.prompt_readers().values()) == {"tokens"}:
            return ""
        return (
            "RECE looks for states that key and value projections read alike, and this model reads prompts through one "
            "embedding: choose uce."
        )

    def start(self, model, material) -> dict[str, torch.Tensor]:
        words = material.words
''',
        """    round_preserve: float = Field(0.1, ge=0, description="s_p of the rounds' edits")

    def start(self, model, material) -> dict[str, torch.Tensor]:
        words = material.words
""",
    ),
    (
        """        if told := self.refuses(model):
            raise UserError(told)
        concept, anchor = word_states""",
        """        if set(model.family.prompt_readers().values()) != {"tokens"}:
            raise UserError(
                "RECE looks for states that key and value projections read alike, and this model reads prompts through "
                "one embedding: choose uce."
            )
        concept, anchor = word_states""",
    ),
    (  # excise.models.spec: a hash beside the identity, for keys
        """    sha256: str | None = None
    files: str | None = None

""",
        """    sha256: str | None = None

""",
    ),
    (  # excise.pipelines.prepare.nodes: the same
        """    from excise.provenance.decoding import files_sha256

    files = files_sha256(model.folder, model.unet_folder)
    return model.model_copy(update={"sha256": loaded.sha256, "files": files}).model_dump(mode="json")
""",
        """    return model.model_copy(update={"sha256": loaded.sha256}).model_dump(mode="json")
""",
    ),
    (  # excise.pipelines.evaluate.nodes: keys name the judge's version and weights
        """        from excise.judges import JUDGES, make_judge

        judges = [(j.name, j.options, make_judge(j).version, make_judge(j).sha256) for j in described.judges]
        code += ("excise.judges", "excise.reports.sheets", *code_of(*(JUDGES[j.name] for j in described.judges)))
""",
        """        from excise.judges import JUDGES

        judges = described.judges
        code += ("excise.judges", "excise.reports.sheets", *code_of(*(JUDGES[j.name] for j in judges)))
""",
    ),
    (  # excise.pipelines.erase.nodes: the same, and the prompts' own guidance
        """        from excise.judges import JUDGES, make_judge

        judge = Concept(**concept).judge
        inputs |= {"judged_by": (make_judge(judge).version, make_judge(judge).sha256)}
        inputs |= {"judge": judge, "draw\"""",
        """        from excise.judges import JUDGES

        judge = Concept(**concept).judge
        inputs |= {"judge": judge, "draw\"""",
    ),
    (
        """    asked = rows[[c for c in ("prompt", "seed", "guidance") if c in rows]]
    inputs |= {"prompts": asked, "references": references}
""",
        """    inputs |= {"prompts": rows[["prompt", "seed"]], "references": references}
""",
    ),
    (  # excise.concepts.concept: refused of every kind; no concept of committed rows looks for exposed bodies
        "        if exposed and not self.unsafe:\n",
        """        if self.kind == "nsfw" and exposed and not self.unsafe:\n""",
    ),
)

EQUAL_IN_FLOAT32: Pairs = (
    (  # excise.attacks.finetuning.student: weights of half precision are trained in float32
        """            value = parameter.detach()
            if value.dtype != torch.float64:  # most steps are smaller than half precision can tell
                value = value.float()
            if not rank:
""",
        """            value = parameter.detach()
            if not rank:
""",
    ),
    (  # excise.attacks.quantising: a channel of zeros in half precision became no number
        """        exact = weight if weight.itemsize > 4 else weight.float()  # a half knows no 1e-12
        scale = exact.abs().flatten(1).amax(1).clamp_min(1e-12).view(-1, *[1] * (weight.ndim - 1)) / top
        return ((exact / scale).round() * scale).to(weight.dtype)
""",
        """        scale = weight.abs().flatten(1).amax(1).clamp_min(1e-12).view(-1, *[1] * (weight.ndim - 1)) / top
        return (weight / scale).round() * scale
""",
    ),
)

EQUAL_FROM_SIX: Pairs = (
    (  # excise.erasers.finetune: a batch of one takes adversarial prompts at every other step, and not never
        """            turn = step if batch == 1 else 0
            attacked = ((torch.arange(batch) + turn) % 2 == 1).view(-1, 1, 1).to(states.device)
""",
        """            attacked = (torch.arange(batch) % 2 == 1).view(-1, 1, 1).to(states.device)
""",
    ),
    (  # excise.erasers.method: of fewer rows than six one in six is on the empty prompt, and not none
        """        turn = generator.initial_seed() * count % 6 if count < 6 else 0
        empty = ((torch.arange(count) + turn) % 6 == 5).view(-1, 1, 1).to(bank.states.device)
""",
        """        empty = (torch.arange(count) % 6 == 5).view(-1, 1, 1).to(bank.states.device)
""",
    ),
)

EQUAL_IN_UNETS: Pairs = (
    (  # excise.models.families.family, .sd3, and excise.models.diffusion: T5 reads a prompt as it was typed
        '''    def states_of(self, texts: list[str], ids: torch.Tensor) -> torch.Tensor:
        """States of texts and their token ids: encoders that follow may read them as they were typed."""
        return self.states(ids, None)

    @abstractmethod
    def states(''',
        """    @abstractmethod
    def states(""",
    ),
    (
        """    def states(self, ids: torch.Tensor, words: torch.Tensor | None) -> torch.Tensor:
        return self._joined(ids, words, self.spelled(ids))

    def states_of(self, texts: list[str], ids: torch.Tensor) -> torch.Tensor:
        return self._joined(ids, None, texts)  # T5 tells capitals, and has room for more

    def _joined(self, ids: torch.Tensor, words: torch.Tensor | None, texts: list[str]) -> torch.Tensor:
        clips = self.read(ids, words)
        states = torch.cat([c.hidden_states[-2] for c in clips], -1)
        width = self.denoiser.config.joint_attention_dim
        states = torch.nn.functional.pad(states, (0, width - states.shape[-1]))
        states = torch.cat([states, self._t5(texts, states)], 1)
""",
        """    def states(self, ids: torch.Tensor, words: torch.Tensor | None) -> torch.Tensor:
        clips = self.read(ids, words)
        states = torch.cat([c.hidden_states[-2] for c in clips], -1)
        width = self.denoiser.config.joint_attention_dim
        states = torch.nn.functional.pad(states, (0, width - states.shape[-1]))
        states = torch.cat([states, self._t5(self.spelled(ids), states)], 1)
""",
    ),
    (
        """texts = [prompts[i : i + batch] for i in range(0, len(prompts), batch)]
        parts = [self.family.states_of(some, self.tokenize(some)) for some in texts]""",
        "parts = [self.encode_tokens(self.tokenize(prompts[i : i + batch])) for i in range(0, len(prompts), batch)]",
    ),
    (  # excise.models.families.sd3: times are told in float32, whatever the model's precision
        '"timestep": times.to(latents.device, torch.float32).expand(len(latents)),',
        '"timestep": times.to(latents).expand(len(latents)),',
    ),
    (  # excise.models.layers: single-stream blocks (FLUX) have a feed-forward part, too
        """    import torch
    from torch import nn


@dataclass(frozen=True)
class FeedForwardLayers:
""",
        """    from torch import nn


@dataclass(frozen=True)
class FeedForwardLayers:
""",
    ),
    (
        """    gated: bool

    def rows_of_up(self, neurons: torch.Tensor, rows: int) -> torch.Tensor:
        \"""What is said of each neuron that ``down`` reads, for each of so many rows of ``up``: (rows,).\"""
        return neurons.repeat(2) if self.gated else neurons[-rows:]


@dataclass(frozen=True)
class CrossAttentionLayers:
""",
        """    gated: bool


@dataclass(frozen=True)
class CrossAttentionLayers:
""",
    ),
    (
        """            found.append(FeedForwardLayers(name, f"{name}.net.0.proj", f"{name}.net.{index}", gated))
        elif isinstance(getattr(module, "proj_mlp", None), nn.Linear):  # a single-stream block
            found.append(FeedForwardLayers(name, f"{name}.proj_mlp", f"{name}.proj_out", False))
    return found
""",
        """            found.append(FeedForwardLayers(name, f"{name}.net.0.proj", f"{name}.net.{index}", gated))
    return found
""",
    ),
    (  # excise.masks.support: theirs writes not every neuron that is read
        """                shape = denoiser.get_parameter(name).shape
                lines = f.rows_of_up(hidden, shape[0]) if name.startswith(f.up) else hidden
                support[name] = lines.view(view).expand(shape).clone()
""",
        """                lines = torch.cat([hidden, hidden]) if f.gated and name.startswith(f.up) else hidden
                support[name] = lines.view(view).expand(denoiser.get_parameter(name).shape).clone()
""",
    ),
    (  # excise.masks.layout: the same
        """                    rows = f.rows_of_up(units, support[name].shape[0])
""",
        """                    rows = torch.cat([units, units]) if f.gated else units
""",
    ),
    (  # excise.masks.scores: the same
        """            written = up[layer].rows_of_up(rank[up[layer].down], len(weight))
            score = score * (1 + written).view(-1, 1)
""",
        """            r = rank[up[layer].down]
            score = score * (1 + (torch.cat([r, r]) if up[layer].gated else r)).view(-1, 1)
""",
    ),
    (  # excise.neurons.units: in joint attention two projections read a value channel
        """    home, modules = unit.name.rsplit(".", 1)[0], dict(denoiser.named_modules())
    names = [unit.name] if unit.kind == FFN else [f"{home}.to_out.0", f"{home}.to_add_out"]
    readers = [modules[name].weight.detach().float() for name in names if name in modules]
    return torch.cat(readers).norm(dim=0)
""",
        """    name = unit.name if unit.kind == FFN else unit.name.rsplit(".", 1)[0] + ".to_out.0"
    return dict(denoiser.named_modules())[name].weight.detach().float().norm(dim=0)
""",
    ),
)

EQUAL_OF_LABELS_ONCE: Pairs = (
    (  # excise.pipelines.erase: words for methods that are told what to keep
        """    kept = [words for group in (described.retain_near, described.retain_far) for words in group.values()]
    words = Words(described.target.fit, described.anchor, [w for v in kept for w in held_out(v, "fit") if w])
""",
        """    kept = {**described.retain_near, **described.retain_far}
    words = Words(described.target.fit, described.anchor, [w for v in kept.values() for w in held_out(v, "fit") if w])
""",
    ),
    (  # excise.pipelines.study_pruning.workshop: things that must survive, one by one
        """        far, things = self._once(("distances",), self._distances), self._things()
        test = self.prompts[self.prompts["split"] == "test"].set_index("prompt_id")["label"]
        seen = pd.concat([kept[name].assign(set=name) for name in evaluate.RETAIN])
        seen = seen[seen["verdict"].isin(["hit", "clear"])]
        named = [things[kind, test[prompt]] for kind, prompt in zip(seen["set"], seen["prompt_id"], strict=True)]
        right = seen["verdict"].eq("hit").groupby(pd.Series(named, dtype=object).to_numpy(), sort=False)
""",
        """        test = self.prompts[self.prompts["split"] == "test"].set_index("prompt_id")["label"]
        seen = pd.concat([kept[name] for name in evaluate.RETAIN])
        seen = seen[seen["verdict"].isin(["hit", "clear"])]
        right = seen["verdict"].eq("hit").groupby(seen["prompt_id"].map(test).to_numpy(), sort=False)
        far = self._once(("distances",), self._distances)
""",
    ),
    (  # excise.pipelines.study_pruning.workshop: things that must survive, one by one
        """    def _things(self) -> dict[tuple[str, str], str]:
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
""",
        """    def _distances(self) -> dict[str, float]:
        import torch

        concept, model = Concept(**self.concept), erase.open_model(self.base)
        things = {**concept.retain_near, **concept.retain_far}
""",
    ),
)

EQUAL_WITHOUT_OWN_GUIDANCE: Pairs = (
    (  # excise.erasers.bank: the same at one guidance
        """    guidance: float | list[float],
    path: Path,
""",
        """    guidance: float,
    path: Path,
""",
    ),
    (  # excise.erasers.bank: the same at one guidance
        """            chosen = slice(start, start + batch)
            states, scale = model.encode(prompts[chosen]), guidance[chosen] if isinstance(guidance, list) else guidance
            path_ = model.sample(states, seeds[chosen], steps, scale, keep=True)
""",
        """            states = model.encode(prompts[start : start + batch])
            path_ = model.sample(states, seeds[start : start + batch], steps, guidance, keep=True)
""",
    ),
    (  # excise.pipelines.erase: the same where no prompt has a guidance of its own
        """        ("concept", ["target"], "fit", eraser.trajectories, eraser.guidance),
        ("retain", ["retain_near", "retain_far"], "fit", 1, eraser.guidance),
        ("test", ["target"], "test", 1, guidance_of(rows_of(prompts, ["target"], "test"), eraser.guidance)),
    ]
    if make_method(eraser).anchored:
        wanted.append(("anchor", ["neutral"], "fit", eraser.trajectories, eraser.guidance))
    for name, sets, split, repeats, guidance in wanted:
""",
        """        ("concept", ["target"], "fit", eraser.trajectories),
        ("retain", ["retain_near", "retain_far"], "fit", 1),
        ("test", ["target"], "test", 1),
    ]
    if make_method(eraser).anchored:
        wanted.append(("anchor", ["neutral"], "fit", eraser.trajectories))
    for name, sets, split, repeats in wanted:
""",
    ),
    (  # excise.pipelines.erase: the same where no prompt has a guidance of its own
        """"steps": eraser.sampling_steps, "guidance": guidance}
""",
        """"steps": eraser.sampling_steps, "guidance": eraser.guidance}
""",
    ),
    (  # excise.pipelines.erase: the same where no prompt has a guidance of its own
        """            eraser.sampling_steps,
            guidance,
            folder / "bank.safetensors",
""",
        """            eraser.sampling_steps,
            eraser.guidance,
            folder / "bank.safetensors",
""",
    ),
)

ALWAYS: Pairs = (*EQUAL, *EQUAL_OF_LABELS_ONCE, *EQUAL_WITHOUT_OWN_GUIDANCE)
ALL: Pairs = (*ALWAYS, *EQUAL_IN_FLOAT32, *EQUAL_FROM_SIX, *EQUAL_IN_UNETS)


def as_before(source: str, pairs: Pairs = ALL) -> str:
    """A source with changes taken back."""
    for now, before in pairs:
        source = source.replace(now, before)
    return source


def pairs_for(inputs: Mapping[str, Any]) -> Pairs:
    """What changes no bit of cached work of these inputs."""
    few = () if _learns_from_few(inputs) else EQUAL_FROM_SIX
    whole = EQUAL_IN_FLOAT32 if _in_whole_precision(inputs) else ()
    return (*ALWAYS, *whole, *few, *(EQUAL_IN_UNETS if _on_a_model_that_ships(inputs) else ()))


def _learns_from_few(inputs: Mapping[str, Any]) -> bool:
    """Whether an eraser is trained with fewer than six rows a step."""
    options = inputs.get("options")
    return type(options).__name__ == "EraserOptions" and options.batch < 6


def _in_whole_precision(inputs: Mapping[str, Any]) -> bool:
    """Whether the model is in float32 or float64, or there is none."""
    model = inputs.get("model")
    return model is None or dict(model).get("dtype", "float32") in ("float32", "float64")


def _on_a_model_that_ships(inputs: Mapping[str, Any]) -> bool:
    """Whether the model is one of ours, whose denoisers are U-Nets, or there is none."""
    model = inputs.get("model")
    return model is None or str(dict(model).get("path", "")).startswith("embedded:")
