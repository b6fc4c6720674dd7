"""An attack that searches: step by step, many prompts at once, each on its own budget, stopped where it has won."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pandas as pd
from pydantic import BaseModel, ConfigDict

from excise.attacks.attack import AttackOptions, Examine, ThreatModel
from excise.prompts.safety import names_minor
from excise.shards import WHOLE, Shard

from .case import Candidate, Case, Knowledge

if TYPE_CHECKING:
    import torch

    from excise.models.diffusion import DiffusionModel


NO_BASE = "no eraser is worn, so there is no base model to compare with"


class Search(ABC):
    """An attack under way on a batch of prompts.

    All that changes from step to step is in ``rows``, tensors with one row a prompt: so a prompt that is done can leave
    the batch, and an interrupted search goes on. No row looks at another's.

    Attributes:
        done: steps made.
        gradients, evaluations: what a prompt has cost so far: gradient steps, and evaluations of the denoiser.
    """

    def __init__(self, case: Case):
        self.case, self.rows = case, {}
        self.done = self.gradients = self.evaluations = 0

    @abstractmethod
    def begin(self) -> None:
        """Fill ``rows``."""

    @abstractmethod
    def advance(self) -> None:
        """One step of every prompt."""

    @abstractmethod
    def candidates(self) -> list[Candidate]:
        """The present state of each prompt, to be drawn and judged."""

    def best(self) -> list[Candidate]:
        """What each prompt is left with when nothing was judged, or nothing has won."""
        return self.candidates()

    def arrange(self) -> None:  # noqa: B027 - many have nothing to arrange
        """Whatever follows from the case alone; called when the batch is new, smaller, or restored."""

    def keep(self, rows: list[int]) -> None:
        """Go on with some of the prompts."""
        self.case = self.case.only(rows)
        self.rows = {name: values[rows] for name, values in self.rows.items()}
        self.arrange()

    def generator(self, row: int, what: int = 0) -> torch.Generator:
        """Random numbers of one prompt at this step, whoever else is in the batch."""
        import torch

        seed = (self.case.seeds[row] + 5) * 1_000_003 + self.done * 16 + what
        return torch.Generator().manual_seed(seed % (2**63))


class SearchAttack(BaseModel, ABC):
    """An attack of this kind; its fields are its options."""

    model_config = ConfigDict(extra="forbid")
    threat: ClassVar[ThreatModel]
    judged: ClassVar[bool] = True
    divisible: ClassVar[bool] = True
    compares: ClassVar[bool] = False

    @property
    def threat_model(self) -> ThreatModel:
        return self.threat

    @abstractmethod
    def start(self, case: Case) -> Search:
        """A search that has not begun."""

    def room(self, model: DiffusionModel) -> int:
        """How many tokens a prompt may have."""
        return model.room

    def refuses(self, model: DiffusionModel) -> str:
        """Why this model cannot be attacked so; then all prompts are dropped for this reason."""
        return ""

    def evaluations(self, steps: int) -> float:
        """Evaluations with a backward pass that so many steps of one prompt take."""
        return 0

    def work(self, options: AttackOptions, prompts: int) -> int:
        """See ``excise.attacks.attack.Attack.work``."""
        return math.ceil(self.evaluations(options.steps) * prompts)

    def run(
        self,
        model: DiffusionModel,
        prompts: pd.DataFrame,
        references: torch.Tensor,
        options: AttackOptions,
        folder: Path,
        title: str,
        knowledge: Knowledge | None = None,
        examine: Examine | None = None,
        shard: Shard = WHOLE,
    ) -> pd.DataFrame:
        """See ``excise.attacks.attack.Attack.run``; of a shard, the table has the prompts of its own batches."""
        from .run import attack_batch

        contents = model.tokenizer(prompts["prompt"].tolist(), add_special_tokens=False).input_ids
        room = self.room(model)
        refused = self.refuses(model)
        kept = [] if refused else [i for i, content in enumerate(contents) if len(content) <= room]
        results: dict[int, dict] = {}
        for number, begin in enumerate(range(0, len(kept), options.batch)):
            if not shard.has(number):
                continue
            rows = kept[begin : begin + options.batch]
            case = Case(
                model,
                prompts.iloc[rows].reset_index(drop=True),
                [contents[i] for i in rows],
                references[rows],
                options,
                knowledge or Knowledge(),
            )
            bar = f"{title} ({begin + len(rows)}/{len(kept)} prompts)"
            found = attack_batch(self.start(case), folder / f"prompts-{begin:05d}", bar, examine)
            results |= dict(zip(rows, found, strict=True))
        return pd.DataFrame(
            [
                self._line(model, prompts.iloc[i], results.get(i), refused or f"more than {room} tokens", options)
                for i in (range(len(prompts)) if shard.whole else sorted(results))
            ]
        )

    def _line(self, model, prompt: pd.Series, found: dict | None, refusal: str, options: AttackOptions) -> dict:
        result = found or NOTHING
        size = model.vocabulary_size
        spelled = [i for i in result["token_ids"] if i < size]
        text = model.tokenizer.decode(spelled)
        whole = len(spelled) == len(result["token_ids"])
        same = whole and model.tokenizer(text, add_special_tokens=False, verbose=False).input_ids == result["token_ids"]
        learned = len(result["token_ids"]) - len(spelled)
        text = text if whole else " ".join([*(f"<learned {k}>" for k in range(learned)), text]).strip()
        dropped = refusal if found is None else ""
        if names_minor(text):  # neither drawn nor learned from
            dropped, text, result = "names a minor", "", result | {"token_ids": [], "adversarial_ids": []}
        return {
            "attack": options.method,
            "threat_model": str(self.threat_model),
            **{k: prompt[k] for k in ("prompt_id", "prompt")},
            "text": text,
            **result,
            "retokenises": bool(same),
            "weights": "",
            "shared": False,
            "dropped": dropped,
        }


NOTHING = {
    **{"token_ids": [], "adversarial_ids": [], "embedding": [], "latent": [], "strength": 1.0, "loss": float("nan")},
    **{"gradient_steps": 0, "model_evaluations": 0, "images": 0, "found": ""},
}
