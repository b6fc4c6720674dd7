"""AdvUnlearn: a text encoder that is trained to forget, against an attacker who is trained along with it."""

from __future__ import annotations

import torch
from pydantic import Field
from torch.func import functional_call

from excise.erasers.esd.method import ESD
from excise.erasers.finetune import Weights
from excise.errors import UserError
from excise.training import adam_loop, train


class AdvUnlearn(ESD):
    """Adversarial training of the text encoder (Zhang et al. 2024, "Defensive Unlearning with Adversarial Training").

    After ``warmup`` steps of plain ESD, each step first looks for the embedding v of one token before the prompt that
    brings the concept back, min over v of ‖ε_student(x_t, [v ∥ c]) − ε_0(x_t, c)‖² (Adam, a new x_t each step), and
    then takes an ESD step on that prompt, with the retain term. All layers of the text encoder and its final norm are
    trained, its embeddings are not. The authors' attacker never clears its gradients; this one does.
    """

    warmup: int = Field(200, ge=0)
    attack_steps: int = Field(30, ge=1)
    attack_lr: float = Field(1e-3, gt=0)

    def work(self, options) -> int:
        attacked = max(0, options.steps - self.warmup)
        return super().work(options) + attacked * self.attack_steps * options.batch

    def refuses(self, model) -> str:
        """Why it cannot work on this model; nothing where it can."""
        if self.follow == "student":
            return (
                "AdvUnlearn trains the text encoder, and takes latents from the base model's trajectories: set its "
                "option follow to base."
            )
        try:
            model.only_encoder("AdvUnlearn")
        except UserError as error:
            return str(error)
        return ""

    def train(self, model, options, material, seed, folder, title):
        if told := self.refuses(model):
            raise UserError(told)
        encoder, bank = model.only_encoder("AdvUnlearn"), material.concept
        names = [n for n, _ in encoder.named_parameters() if "embeddings" not in n]
        weights = Weights(encoder, names, {}, None)
        table = encoder.get_input_embeddings().weight.detach()

        def student_states(ids: torch.Tensor, first: torch.Tensor | None = None) -> torch.Tensor:
            return read(encoder, weights.current(), table, ids, first)

        def loss_of(step: int) -> dict[str, torch.Tensor]:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
            steps, rows = bank.draw(generator, options.batch)
            lesson = self.lesson(model, material, steps, rows, generator, None)
            first = self.find_token(model, bank, rows, student_states, generator) if step >= self.warmup else None
            predicted = model.predict(lesson.latents, lesson.times, student_states(bank.ids[rows], first))
            erase = (predicted - lesson.target).pow(2).mean()
            keep = torch.zeros(())
            if options.retain_weight > 0:
                kept = material.retain
                steps, rows = kept.draw(generator, options.batch)
                states = student_states(kept.ids[rows])
                predicted = model.predict(kept.latents[steps, rows], kept.times[steps], states)
                keep = (predicted - kept.wanted[steps, rows]).pow(2).mean()
            return {
                "loss": erase + options.retain_weight * keep,
                "erase": erase.detach(),
                "retain": keep.detach(),
            }

        rows = train(weights, loss_of, adam_loop(options.steps, options.batch, options.lr), folder, title)
        new = {n: w.detach().to(model.dtype).cpu() for n, w in weights.current().items()}
        moved = {n: w for n, w in new.items() if not torch.equal(w, encoder.get_parameter(n).cpu())}
        return {f"text_encoder.{n}": w for n, w in moved.items()}, rows

    def find_token(self, model, bank, rows, states_of, generator) -> torch.Tensor:
        """The attacker: embeddings, (n, d), of one token before each prompt, from random words of the vocabulary."""
        table = model.word_vectors().detach()
        start = torch.randint(len(table), (len(rows),), generator=generator)
        token = table[start].clone().requires_grad_(True)
        adam = torch.optim.Adam([token], lr=self.attack_lr)
        for _ in range(self.attack_steps):
            steps = torch.randint(len(bank.times), (len(rows),), generator=generator)
            predicted = model.predict(bank.latents[steps, rows], bank.times[steps], states_of(bank.ids[rows], token))
            loss = (predicted - bank.wanted[steps, rows]).pow(2).mean()
            (token.grad,) = torch.autograd.grad(loss, [token])
            adam.step()
        return token.detach()


def read(
    encoder, weights: dict[str, torch.Tensor], table: torch.Tensor, ids: torch.Tensor, first: torch.Tensor | None
) -> torch.Tensor:
    """States of token ids under other weights, (n, L, d), with an embedding of its own (n, d) before each text."""
    if first is None:
        words = table[ids]
    else:
        ids = torch.cat([ids[:, :1], torch.zeros_like(ids[:, :1]), ids[:, 1:-1]], 1)
        words = torch.cat([table[ids[:, :1]], first.unsqueeze(1), table[ids[:, 2:]]], 1)
    words, given = words.to(encoder.dtype), {n: w.to(encoder.dtype) for n, w in weights.items()}
    hook = encoder.get_input_embeddings().register_forward_hook(lambda module, args, output: words)
    try:
        return functional_call(encoder, given, (ids,))[0]
    finally:
        hook.remove()
