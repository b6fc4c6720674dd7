"""UnlearnDiffAtk (Zhang et al. 2024): the erased model as its own classifier, attacked through tokens.

min over k adversarial tokens of E ‖ε − ε_erased(√ᾱ x_0 + √(1−ᾱ) ε, t, [tokens ‖ prompt])‖², where x_0 is the base
model's own picture for the prompt. No judge takes part in the gradient. Adam, then projection onto the simplex, as in
the authors' code (their text says projected sign descent). For testing one's own eraser.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from excise.attacks.attack import AttackOptions, ThreatModel
from excise.prompts.safety import names_minor
from excise.training import adam_loop, train

if TYPE_CHECKING:
    import torch

    from excise.models.diffusion import DiffusionModel


class UnlearnDiffAtk(BaseModel):
    """Options of the attack.

    Attributes:
        tokens: k, how many adversarial tokens stand before the prompt (the authors: 5 for nudity, 3 for others).
        lr: Adam's rate (the authors: .01 over up to 2000 steps; a short budget needs larger ones).
        check_every: every so many steps the most probable tokens are scored on ``checks`` fixed pairs of noise and
            timestep; the best that were met are kept. Where none scores better than the plain prompt on the same
            pairs, the plain prompt is kept: an attacker would not make it worse.
    """

    model_config = ConfigDict(extra="forbid")
    tokens: int = Field(3, ge=1)
    lr: float = Field(0.1, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    check_every: int = Field(10, ge=1)
    checks: int = Field(4, ge=1)

    @property
    def threat_model(self) -> ThreatModel:
        return ThreatModel.WHITE_BOX_TEXT

    def work(self, options: AttackOptions, prompts: int) -> int:
        """See ``excise.attacks.attack.Attack.work``."""
        return options.steps * prompts

    def run(
        self,
        model: DiffusionModel,
        prompts: pd.DataFrame,
        references: torch.Tensor,
        options: AttackOptions,
        folder: Path,
        title: str,
    ) -> pd.DataFrame:
        """See ``excise.attacks.attack.Attack.run``."""
        contents = [model.tokenizer(p, add_special_tokens=False).input_ids for p in prompts["prompt"]]
        room = model.tokenizer.model_max_length - 2 - self.tokens
        fits = [len(c) <= room for c in contents]
        kept = [i for i, ok in enumerate(fits) if ok]
        results: dict[int, dict] = {}
        for start in range(0, len(kept), options.batch):
            rows = kept[start : start + options.batch]
            part = folder / f"prompts-{start:05d}"
            seeds = [int(s) for s in prompts["seed"].iloc[rows]]
            bar = f"{title} ({start + len(rows)}/{len(kept)} prompts)"
            ids, losses = self._attack(
                model, [contents[i] for i in rows], seeds, references[rows], options.steps, part, bar
            )
            spent = {
                "gradient_steps": options.steps,
                "model_evaluations": options.steps + self.checks * (1 + self._rounds(options.steps)),
            }
            for i, tokens, loss in zip(rows, ids, losses.tolist(), strict=True):
                results[i] = {"token_ids": tokens + contents[i], "adversarial_ids": tokens, "loss": loss, **spent}
        nothing = {
            "token_ids": [],
            "adversarial_ids": [],
            "loss": float("nan"),
            "gradient_steps": 0,
            "model_evaluations": 0,
        }
        table = []
        for i, (prompt_id, prompt) in enumerate(zip(prompts["prompt_id"], prompts["prompt"], strict=True)):
            row = results.get(i, nothing)
            text = model.tokenizer.decode(row["token_ids"])
            table.append(
                {
                    "attack": options.method,
                    "threat_model": str(self.threat_model),
                    "prompt_id": prompt_id,
                    "prompt": prompt,
                    "text": text,
                    **row,
                    "embedding": [],
                    "retokenises": model.tokenizer(text, add_special_tokens=False).input_ids == row["token_ids"],
                    "dropped": _why_dropped(text, fits[i], room),
                }
            )
        return pd.DataFrame(table)

    def _rounds(self, steps: int) -> int:
        return steps // self.check_every + (steps % self.check_every > 0)

    def _attack(self, model, contents, seeds, references, steps: int, folder: Path, title: str):
        """Attack prompts together; each has its own random numbers, so that company changes nothing."""
        import torch

        from .simplex import project_to_simplex, sample_one_hot
        from .tokens import TokenSimplex

        variable = TokenSimplex(model, contents, self.tokens, references)
        draws = [torch.Generator().manual_seed(seed + 5) for seed in seeds]
        numbers = [_numbers(g, steps, self.tokens, variable.references.shape[1:]) for g in draws]
        checks = [_numbers(g, self.checks, self.tokens, variable.references.shape[1:]) for g in draws]
        schedule = torch.linspace(10, 990, steps).round().long()
        check_times = torch.linspace(100, 900, self.checks).round().long()

        def loss_of(step: int) -> dict[str, torch.Tensor]:
            uniforms = torch.stack([n["uniforms"][step] for n in numbers]).to(model.device)
            noise = torch.stack([n["noise"][step] for n in numbers]).to(references)
            losses = variable.losses(sample_one_hot(variable.points, uniforms), noise, schedule[step])
            return {"loss": losses.sum(), "mean": losses.mean().detach()}

        @torch.no_grad()
        def after_step(step: int) -> None:
            variable.points.copy_(project_to_simplex(variable.points))
            if (step + 1) % self.check_every == 0 or step + 1 == steps:
                ids = variable.points.argmax(-1)
                one_hot = torch.nn.functional.one_hot(ids, variable.points.shape[-1]).to(variable.points)
                total = sum(
                    variable.losses(
                        one_hot, torch.stack([c["noise"][k] for c in checks]).to(references), check_times[k]
                    )
                    for k in range(self.checks)
                )
                variable.remember(ids, total / self.checks)

        loop = adam_loop(steps, len(contents), self.lr, self.weight_decay)
        train(variable, loss_of, loop, folder, title, after_step)
        with torch.no_grad():
            plain = sum(
                variable.plain_losses(
                    contents, torch.stack([c["noise"][k] for c in checks]).to(references), check_times[k]
                )
                for k in range(self.checks)
            )
        better = variable.best_losses < plain / self.checks
        found = [ids if wins else [] for ids, wins in zip(variable.best_ids.tolist(), better.tolist(), strict=True)]
        return found, torch.minimum(variable.best_losses, plain / self.checks)


def _why_dropped(text: str, fits: bool, room: int) -> str:
    if not fits:
        return f"more than {room} tokens"
    return "names a minor" if names_minor(text) else ""


def _numbers(generator: torch.Generator, steps: int, k: int, shape) -> dict[str, torch.Tensor]:
    """All random numbers of one prompt's attack."""
    import torch

    return {
        "uniforms": torch.rand(steps, k, generator=generator, dtype=torch.float64),
        "noise": torch.randn(steps, *shape, generator=generator),
    }
