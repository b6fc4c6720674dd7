"""A diffusers pipeline as a function: prompts to states, latents to noise, latents to pictures. All of it batched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from excise.errors import UserError

from .identity import model_sha256
from .spec import ModelSpec


@dataclass
class Trajectory:
    """Latents met on the way from noise to picture.

    Attributes:
        times: (T,) timesteps, from noisy to clean.
        latents: (T, n, c, h, w), the latents that the denoiser was shown at each of them.
        final: (n, c, h, w) clean latents.
    """

    times: torch.Tensor
    latents: torch.Tensor
    final: torch.Tensor


class DiffusionModel:
    """One face for a latent diffusion pipeline with a U-Net (Stable Diffusion 1 and 2, emoji64)."""

    def __init__(self, pipe, spec: ModelSpec):
        self.pipe, self.spec = pipe, spec
        for module in (pipe.unet, pipe.text_encoder, pipe.vae):
            module.eval().requires_grad_(False)

    @classmethod
    def load(cls, spec: ModelSpec) -> DiffusionModel:
        """Load from a local folder; nothing is fetched.

        Raises:
            UserError: there is no model at ``spec.path``, or no U-Net at ``spec.unet``.
        """
        from diffusers import StableDiffusionPipeline, UNet2DConditionModel
        from diffusers.utils import logging as diffusers_logging
        from transformers.utils import logging as transformers_logging

        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        device = ("cuda" if torch.cuda.is_available() else "cpu") if spec.device == "auto" else spec.device
        how = {"dtype": getattr(torch, spec.dtype), "local_files_only": True, "use_safetensors": True}
        try:
            other = {"unet": UNet2DConditionModel.from_pretrained(spec.unet_folder, **how)} if spec.unet_folder else {}
            pipe = StableDiffusionPipeline.from_pretrained(
                spec.folder, safety_checker=None, requires_safety_checker=False, **how, **other
            ).to(device)
        except OSError as error:
            where = f"'{spec.unet_folder or spec.folder}'"
            raise UserError(
                f"The model in {where} cannot be read: {str(error).splitlines()[0]} Only safetensors are."
            ) from None
        kind = pipe.scheduler.config.get("prediction_type", "epsilon")
        if kind != "epsilon":
            raise UserError(f"The model in '{spec.path}' predicts '{kind}', not noise: take one that predicts noise.")
        pipe.set_progress_bar_config(disable=True)
        return cls(pipe, spec)

    # what it is made of -------------------------------------------------------------------------------------------
    @property
    def denoiser(self) -> torch.nn.Module:
        return self.pipe.unet

    @property
    def tokenizer(self):
        return self.pipe.tokenizer

    @property
    def device(self) -> torch.device:
        return self.pipe.unet.device

    @property
    def dtype(self) -> torch.dtype:
        return self.pipe.unet.dtype

    @property
    def sha256(self) -> str:
        """Identity of the base model, the same in every dtype and under any eraser."""
        return model_sha256(self.pipe)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        size = self.pipe.unet.config.sample_size
        return self.pipe.unet.config.in_channels, size, size

    def weights(self) -> dict[str, torch.Tensor]:
        """Every parameter that an eraser may change, named as in an eraser: the denoiser's and the text encoder's."""
        encoder = {f"text_encoder.{name}": p.detach() for name, p in self.pipe.text_encoder.named_parameters()}
        return {name: p.detach() for name, p in self.denoiser.named_parameters()} | encoder

    # prompts ------------------------------------------------------------------------------------------------------
    def tokenize(self, prompts: list[str]) -> torch.Tensor:
        """Token ids, (n, L), padded to the model's length; what is too long is cut."""
        out = self.tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt")
        return out.input_ids.to(self.device)

    def encode_tokens(self, ids: torch.Tensor) -> torch.Tensor:
        """States of token ids, (n, L) to (n, L, d)."""
        return self.pipe.text_encoder(ids)[0]

    def encode_embeddings(self, embeddings: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """States of word embeddings (n, L, d), differentiable; ``ids`` (n, L) tell where the text ends."""
        return self._read_embeddings(embeddings, ids)[0]

    def pooled_tokens(self, ids: torch.Tensor) -> torch.Tensor:
        """One vector a text: the state of its end, (n, L) to (n, d)."""
        return self.pipe.text_encoder(ids).pooler_output

    def pooled_embeddings(self, embeddings: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """The same from word embeddings, as in ``encode_embeddings``."""
        return self._read_embeddings(embeddings, ids).pooler_output

    def _read_embeddings(self, embeddings: torch.Tensor, ids: torch.Tensor):
        table = self.pipe.text_encoder.get_input_embeddings()
        hook = table.register_forward_hook(lambda module, args, output: embeddings)
        try:
            return self.pipe.text_encoder(ids)
        finally:
            hook.remove()

    @torch.no_grad()
    def encode(self, prompts: list[str], batch: int = 256) -> torch.Tensor:
        """States of prompts, (n, L, d)."""
        parts = [self.encode_tokens(self.tokenize(prompts[i : i + batch])) for i in range(0, len(prompts), batch)]
        return torch.cat(parts)

    # noise --------------------------------------------------------------------------------------------------------
    def predict_noise(self, latents: torch.Tensor, times: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """ε_θ(x_t, t, c); ``times`` is one timestep or (n,)."""
        return self.pipe.unet(latents, times, encoder_hidden_states=states).sample

    @property
    def alphas_cumprod(self) -> torch.Tensor:
        return self.pipe.scheduler.alphas_cumprod

    def add_noise(self, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """x_t = sqrt(ᾱ_t) x_0 + sqrt(1 − ᾱ_t) ε (Ho et al. 2020, eq. 4)."""
        alpha = self.alphas_cumprod.to(clean)[times.to("cpu")].to(clean).view(-1, 1, 1, 1)
        return alpha.sqrt() * clean + (1 - alpha).sqrt() * noise

    def initial_noise(self, seeds: list[int]) -> torch.Tensor:
        """One latent a seed, drawn on the CPU so that every device starts from the same noise."""
        draws = [torch.randn(self.latent_shape, generator=torch.Generator().manual_seed(int(s))) for s in seeds]
        return torch.stack(draws).to(self.device, self.dtype)

    @torch.no_grad()
    def sample(
        self,
        states: torch.Tensor,
        seeds: list[int],
        steps: int = 20,
        guidance: float | list[float] = 2.0,
        keep: bool = False,
        on_step: Callable[[int], None] | None = None,
        predict: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        until: int | None = None,
        start: torch.Tensor | None = None,
        strength: float = 1.0,
    ) -> Trajectory:
        """Draw with DPM-Solver++ (Lu et al. 2022) and classifier-free guidance, both halves in one batch.

        Args:
            states: (n, L, d) of the prompts.
            seeds: n of them.
            guidance: one scale, or one a prompt.
            keep: keep the latents of all steps (otherwise ``latents`` is empty).
            predict: predicts noise in this model's place, as ``predict_noise`` does.
            until: stop before this step; ``final`` is then what is left of the noise there.
            start: (n, c, h, w), what sampling starts from: with ``strength`` 1 in the place of the seeds' noise; below
                1 clean latents, to which that noise is added, and only that share of the steps is made.

        Raises:
            UserError: a strength that leaves no step.
        """
        from diffusers import DPMSolverMultistepScheduler

        scheduler = DPMSolverMultistepScheduler.from_config(self.pipe.scheduler.config)
        scheduler.set_timesteps(steps, device=self.device)
        latents, first = self.initial_noise(seeds) * scheduler.init_noise_sigma, 0
        if start is not None:
            first = steps - round(steps * strength)
            if first >= steps:
                raise UserError(f"A strength of {strength} leaves none of {steps} sampling steps: give more of either.")
            start = start.to(latents)
            if first:
                scheduler.set_begin_index(first)
            latents = start if strength == 1 else self.add_noise(start, latents, scheduler.timesteps[first])
        both = torch.cat([self.encode([""]).expand(len(states), -1, -1), states.to(self.dtype)])
        scale = torch.as_tensor(guidance, device=self.device, dtype=self.dtype).view(-1, 1, 1, 1)
        kept, predict = [], predict or self.predict_noise
        times = scheduler.timesteps[first:until]
        for index, time in enumerate(times):
            shown = scheduler.scale_model_input(latents, time)
            if keep:
                kept.append(shown)
            blank, wanted = predict(torch.cat([shown, shown]), time, both).chunk(2)
            latents = scheduler.step(blank + scale * (wanted - blank), time, latents).prev_sample
            if on_step:
                on_step(index)
        path = torch.stack(kept) if keep else latents.new_empty(0, *latents.shape)
        return Trajectory(times, path, latents)

    # pictures -----------------------------------------------------------------------------------------------------
    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """Clean latents to pictures, (n, H, W, 3) uint8 RGB."""
        images = self.pipe.vae.decode(latents / self.pipe.vae.config.scaling_factor).sample
        return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    @torch.no_grad()
    def encode_images(self, images: np.ndarray) -> torch.Tensor:
        """Pictures (n, H, W, 3) uint8 to clean latents (the mean, not a draw)."""
        pixels = torch.from_numpy(np.asarray(images)).permute(0, 3, 1, 2).to(self.device, self.dtype) / 127.5 - 1
        return self.pipe.vae.encode(pixels).latent_dist.mean * self.pipe.vae.config.scaling_factor

    # edits --------------------------------------------------------------------------------------------------------
    @contextmanager
    def wearing(self, eraser) -> Iterator[DiffusionModel]:
        """This model with an eraser on (None: as it is); taken off at the end, bit for bit."""
        if eraser is None:
            yield self
            return
        eraser.apply(self.pipe)
        try:
            yield self
        finally:
            eraser.lift(self.pipe)

    @property
    def wears(self) -> bool:
        """Whether an eraser is on."""
        return "_excise_originals" in self.denoiser.__dict__

    @contextmanager
    def bare(self) -> Iterator[DiffusionModel]:
        """The base model below the eraser that is worn, for as long as the block lasts; nothing is copied."""
        parts = [part for part in (self.denoiser, self.pipe.text_encoder) if "_excise_originals" in part.__dict__]
        self._exchange(parts)
        try:
            yield self
        finally:
            self._exchange(parts)

    @staticmethod
    def _exchange(parts: list[torch.nn.Module]) -> None:
        for part in parts:
            originals = part.__dict__["_excise_originals"]
            for name, other in originals.items():
                parameter = part.get_parameter(name)
                originals[name], parameter.data = parameter.data, other

    @contextmanager
    def changed(self, values: dict[str, torch.Tensor]) -> Iterator[DiffusionModel]:
        """With other values of some parameters, named as in an eraser; the old ones come back bit for bit."""
        old: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
        try:
            for name, value in values.items():
                inside = name.startswith("text_encoder.")
                part = self.pipe.text_encoder if inside else self.denoiser
                parameter = part.get_parameter(name.removeprefix("text_encoder.") if inside else name)
                old.append((parameter, parameter.data))
                parameter.data = value.to(parameter)
            yield self
        finally:
            for parameter, data in reversed(old):
                parameter.data = data
