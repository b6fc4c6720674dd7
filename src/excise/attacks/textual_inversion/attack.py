"""Textual inversion through an erased model: learn new words that mean the concept to it, and use them.

"Circumventing Concept Erasure" (Pham et al. 2024) learns an embedding v (Gal et al. 2023) on pictures of the concept:
min over v of E ‖ε − ε_erased(√ᾱ x_0 + √(1−ᾱ) ε, t, text with v)‖². The attacker holds the model and gives it vectors
that no text spells. Pictures are the base model's own for fit prompts, as the authors learn from other pictures than
they ask for; all attacked prompts share v. For testing one's own eraser.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from excise.attacks.attack import AttackOptions, Examine, ThreatModel
from excise.attacks.search import Knowledge
from excise.errors import UserError
from excise.training import adam_loop, train

if TYPE_CHECKING:
    import torch

    from excise.models.diffusion import DiffusionModel


class TextualInversion(BaseModel):
    """Options of the attack; its ``steps`` are gradient steps of ``batch`` pictures each.

    It is blind: prompts share their words, so that none could stop before the others.

    Attributes:
        vectors: how many embeddings are learned together (the authors: 1).
        where: ``before`` the prompt, or ``alone`` in its place; while learning as when asking.
        start: a word that the embeddings start from (the authors: art, person, object); empty for the mean of all.
        lr: Adam's rate (the authors: 5e-3, scaled by the batch, for 5000 steps).
    """

    model_config = ConfigDict(extra="forbid")
    judged: ClassVar[bool] = False
    divisible: ClassVar[bool] = False
    compares: ClassVar[bool] = False
    vectors: int = Field(1, ge=1)
    where: Literal["before", "alone"] = "before"
    start: str = ""
    lr: float = Field(0.02, gt=0)
    seed: int = 0

    @property
    def threat_model(self) -> ThreatModel:
        return ThreatModel.EMBEDDING

    def work(self, options: AttackOptions, prompts: int) -> int:
        """See ``excise.attacks.attack.Attack.work``: prompts share their words."""
        return options.steps * options.batch

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
        from excise.images.learned_words import LearnedWords

        words = model.tokenizer(prompts["prompt"].tolist(), add_special_tokens=False).input_ids
        size = model.vocabulary_size
        new = list(range(size, size + self.vectors))
        contents = [new + (w if self.where == "before" else []) for w in words]
        room = model.room
        fits = [len(c) <= room for c in contents]
        kept = [i for i, ok in enumerate(fits) if ok]
        if knowledge is None or knowledge.concept is None:
            raise UserError("textual_inversion needs pictures of the concept to learn from: give it knowledge.")
        if kept:
            shown = model.tokenizer(knowledge.concept_prompts, add_special_tokens=False).input_ids
            texts = [new + (w if self.where == "before" else []) for w in shown]
            short = [i for i, text in enumerate(texts) if len(text) <= room]
            if not short:
                raise UserError(
                    f"textual_inversion has no room for {self.vectors} more tokens in any prompt that it learns from."
                )
            learned = LearnedWords(model, [texts[i] for i in short], self.vectors, self.start)
            rows = self._learn(model, learned, knowledge.concept[short], options, folder, title)
            embedding = learned.vectors.detach().cpu().reshape(-1).tolist()
        names = " ".join(f"<learned {k}>" for k in range(self.vectors))
        table = []
        for i, prompt in enumerate(prompts["prompt"]):
            table.append(
                {
                    "attack": options.method,
                    "threat_model": str(self.threat_model),
                    "prompt_id": prompts["prompt_id"].iloc[i],
                    "prompt": prompt,
                    "text": f"{names} {prompt}" if self.where == "before" else names,
                    "token_ids": contents[i] if fits[i] else [],
                    "adversarial_ids": new if fits[i] else [],
                    "embedding": embedding if fits[i] else [],
                    **{"latent": [], "strength": 1.0},
                    "loss": rows[-1]["loss"] if fits[i] else float("nan"),
                    "gradient_steps": options.steps if fits[i] else 0,
                    "model_evaluations": options.steps * options.batch if fits[i] else 0,
                    **{"images": 0, "found": "", "retokenises": False, "weights": "", "shared": True},
                    "dropped": "" if fits[i] else f"more than {room - self.vectors} tokens",
                }
            )
        return pd.DataFrame(table)

    def _learn(self, model, learned, pictures, options: AttackOptions, folder: Path, title: str) -> list[dict]:
        import torch

        from excise.models.schedule import STEPS

        def loss_of(step: int) -> dict[str, torch.Tensor]:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
            picked = torch.randint(len(pictures), (options.batch,), generator=generator)
            times = torch.randint(STEPS, (options.batch,), generator=generator).to(model.device)
            clean = pictures[picked]
            noise = torch.randn(clean.shape, generator=generator).to(clean)
            predicted = model.predict(model.add_noise(clean, noise, times), times, learned.states(picked))
            return {"loss": (predicted - model.target(clean, noise, times)).pow(2).mean()}

        loop = adam_loop(options.steps, options.batch, self.lr)
        return train(learned, loss_of, loop, folder, title)
