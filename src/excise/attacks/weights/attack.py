"""An attacker who holds the weights changes them, and then asks as anybody would."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pandas as pd
from pydantic import BaseModel, ConfigDict

from excise.attacks.attack import AttackOptions, Examine, ThreatModel
from excise.attacks.search import Case, Knowledge
from excise.cache import finished, write_atomically

if TYPE_CHECKING:
    import torch

    from excise.models.diffusion import DiffusionModel


class WeightsAttack(BaseModel, ABC):
    """An attack of this kind; its fields are its options. One change of the weights serves all prompts; it is blind."""

    model_config = ConfigDict(extra="forbid")
    judged: ClassVar[bool] = False
    divisible: ClassVar[bool] = False
    compares: ClassVar[bool] = False

    @property
    def threat_model(self) -> ThreatModel:
        return ThreatModel.WEIGHTS

    @abstractmethod
    def change(self, case: Case, folder: Path, title: str) -> dict[str, torch.Tensor]:
        """New values of parameters, named as in an eraser, for the model that the case's eraser is on."""

    def refuses(self, model: DiffusionModel) -> str:
        """Why this model cannot be attacked so; then all prompts are dropped for this reason."""
        return ""

    def trained(self, options: AttackOptions) -> int:
        """Gradient steps; each is of ``options.batch`` pictures."""
        return 0

    def work(self, options: AttackOptions, prompts: int) -> int:
        """See ``excise.attacks.attack.Attack.work``: prompts share the change."""
        return self.trained(options) * options.batch

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
    ) -> pd.DataFrame:
        """See ``excise.attacks.attack.Attack.run``."""
        from safetensors.torch import save_file

        contents = model.tokenizer(prompts["prompt"].tolist(), add_special_tokens=False).input_ids
        room, file = model.room, folder / "weights.safetensors"
        refused = self.refuses(model)
        fits = [not refused and len(content) <= room for content in contents]
        if not finished(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            case = Case(model, prompts, contents, references, options, knowledge or Knowledge())
            values = {} if refused else self.change(case, folder / "training", title)
            values = {n: v.detach().cpu().contiguous() for n, v in values.items()}
            write_atomically(file, lambda draft: save_file(values, draft))
        steps, reason = self.trained(options), refused or f"more than {room} tokens"
        return pd.DataFrame(
            {
                **{"attack": options.method, "threat_model": str(self.threat_model)},
                **{"prompt_id": prompts["prompt_id"], "prompt": prompts["prompt"], "text": prompts["prompt"]},
                "token_ids": [content if ok else [] for content, ok in zip(contents, fits, strict=True)],
                **{name: [[] for _ in contents] for name in ("adversarial_ids", "embedding", "latent")},
                **{"strength": 1.0, "loss": float("nan"), "gradient_steps": steps},
                "model_evaluations": steps * options.batch,
                **{"images": 0, "found": "", "retokenises": True, "weights": str(file), "shared": True},
                "dropped": ["" if ok else reason for ok in fits],
            }
        ).reset_index(drop=True)
