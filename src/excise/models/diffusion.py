"""A diffusers pipeline as a function: prompts to states, latents to noise, latents to pictures. All of it batched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from excise.errors import UserError

from .families import family_of
from .families.family import split_pooled
from .identity import model_sha256
from .offload import bring_on_call
from .parts import ENCODERS, editable, owner
from .schedule import Schedule
from .spec import ModelSpec

CHECKED = "StableDiffusionPipeline"  # comes with a safety checker, which would blacken what a judge is to see


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
    """One face for latent diffusion pipelines, whatever their architecture (``families``)."""

    def __init__(self, pipe, spec: ModelSpec):
        self.pipe, self.spec = pipe, spec
        self.family = family_of(type(pipe).__name__)(pipe, spec.pixels)
        for module in pipe.components.values():
            if isinstance(module, torch.nn.Module):
                module.eval().requires_grad_(False)
        if spec.gradient_checkpointing:
            self.denoiser.enable_gradient_checkpointing()

    @classmethod
    def load(cls, spec: ModelSpec) -> DiffusionModel:
        """Load from a local folder, or from a hub where the spec names one.

        Raises:
            UserError: there is no model at ``spec.path``, or no U-Net at ``spec.unet``, or one of a class that is not
                known here; or something is left to be chosen.
        """
        if not spec.settled:
            raise UserError(f"'{spec.name}' has settings that are 'auto': models.memory.choose_settings settles them.")
        import diffusers
        from diffusers import UNet2DConditionModel
        from diffusers.utils import logging as diffusers_logging
        from transformers.utils import logging as transformers_logging

        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        device = ("cuda" if torch.cuda.is_available() else "cpu") if spec.device == "auto" else spec.device
        how = {"dtype": getattr(torch, spec.dtype), "local_files_only": True, "use_safetensors": True}
        name = spec.pipeline_class
        family_of(name)
        unwatched = {"safety_checker": None, "requires_safety_checker": False} if name == CHECKED else {}
        try:
            other = {"unet": UNet2DConditionModel.from_pretrained(spec.unet_folder, **how)} if spec.unet_folder else {}
            pipe = getattr(diffusers, name).from_pretrained(spec.folder, **how, **unwatched, **other)
        except OSError as error:
            where = f"'{spec.unet_folder or spec.folder}'"
            raise UserError(
                f"The model in {where} cannot be read: {str(error).splitlines()[0]} Only safetensors are."
            ) from None
        pipe.set_progress_bar_config(disable=True)
        model = cls(pipe, spec)
        for part, module in pipe.components.items():
            if isinstance(module, torch.nn.Module):
                bring_on_call(module, device) if spec.offload and part in model.family.resting() else module.to(device)
        return model

    # what it is made of -------------------------------------------------------------------------------------------
    @property
    def denoiser(self) -> torch.nn.Module:
        return self.family.denoiser

    @property
    def encoders(self) -> dict[str, torch.nn.Module]:
        """The text encoders whose words can be searched: attribute of the pipeline -> module."""
        return self.family.encoders

    def only_encoder(self, what: str) -> torch.nn.Module:
        """The text encoder of a model that has one.

        Args:
            what: who asks for it.

        Raises:
            UserError: it has several, or one that the denoiser does not read directly.
        """
        if self.family.following or list(self.encoders) != ["text_encoder"]:
            raise UserError(
                f"{what} works on the one text encoder of Stable Diffusion 1 and 2, and {self.spec.name} reads with "
                "others: choose another method for this model."
            )
        return self.encoders["text_encoder"]

    @property
    def tokenizer(self):
        return self.family.tokenizer

    @property
    def device(self) -> torch.device:
        return self.denoiser.device

    @property
    def dtype(self) -> torch.dtype:
        return self.denoiser.dtype

    @property
    def precision(self) -> torch.dtype:
        """Of latents, predictions, word embeddings, and whatever is trained: float32 also where weights are halves."""
        return torch.promote_types(self.dtype, torch.float32)

    @property
    def sha256(self) -> str:
        """Identity of the base model, the same in every dtype and under any eraser."""
        return model_sha256(self.pipe)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return self.family.latent_shape

    def weights(self) -> dict[str, torch.Tensor]:
        """Every parameter that an eraser may change, named as in an eraser: the denoiser's and all text encoders'."""
        found = {name: p.detach() for name, p in self.denoiser.named_parameters()}
        for part in ENCODERS:
            if (encoder := getattr(self.pipe, part, None)) is not None:
                found |= {f"{part}.{name}": p.detach() for name, p in encoder.named_parameters()}
        return found

    # prompts ------------------------------------------------------------------------------------------------------
    @property
    def room(self) -> int:
        """Tokens that a prompt may have."""
        return self.family.length - self.family.first - 1

    def frame(self, contents: list[list[int]]) -> torch.Tensor:
        """Content ids between start and end of text, padded; (n, L)."""
        return self.family.frame(contents).to(self.device)

    def tokenize(self, prompts: list[str]) -> torch.Tensor:
        """Token ids, (n, L), padded to the model's length; what is too long is cut."""
        out = self.tokenizer(
            prompts, padding="max_length", max_length=self.family.length, truncation=True, return_tensors="pt"
        )
        return out.input_ids.to(self.device)

    @property
    def vocabulary_size(self) -> int:
        """Words that have an embedding; an id beyond them stands for a learned one."""
        return len(next(iter(self.encoders.values())).get_input_embeddings().weight)

    def word_vectors(self, ids: torch.Tensor | None = None) -> torch.Tensor:
        """Word embeddings of ids of any shape, (…, d), or of the whole vocabulary, (V, d); of several encoders those of
        each one after the other."""
        if ids is None:
            ids = torch.arange(self.vocabulary_size, device=self.device)
        return self.family.vectors(ids).to(self.precision)

    def encode_tokens(self, ids: torch.Tensor) -> torch.Tensor:
        """States of token ids, (n, L) to (n, L, d); see ``families.family`` for what is in them."""
        return self.family.states(ids, None)

    def encode_embeddings(self, embeddings: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """States of word embeddings (n, L, d), differentiable; ``ids`` (n, L) tell where the text ends."""
        return self.family.states(ids, embeddings.to(self.dtype))

    def pooled_tokens(self, ids: torch.Tensor) -> torch.Tensor:
        """One vector a text: the state of its end, (n, L) to (n, d)."""
        return self.family.pooled(ids, None)

    def pooled_embeddings(self, embeddings: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """The same from word embeddings, as in ``encode_embeddings``."""
        return self.family.pooled(ids, embeddings.to(self.dtype))

    def token_states(self, states: torch.Tensor) -> torch.Tensor:
        """The part of states that is about tokens, without what sums up the whole prompt."""
        return split_pooled(states, self.family.pooled_size)[0]

    def prompt_states(self, states: torch.Tensor) -> torch.Tensor:
        """What sums up the whole prompt, (n, d); nothing (n, 0) for a model that takes only tokens."""
        return split_pooled(states, self.family.pooled_size)[1]

    @torch.no_grad()
    def encode(self, prompts: list[str], batch: int = 256) -> torch.Tensor:
        """States of prompts, (n, L, d)."""
        texts = [prompts[i : i + batch] for i in range(0, len(prompts), batch)]
        parts = [self.family.states_of(some, self.tokenize(some)) for some in texts]
        return torch.cat(parts)

    # noise --------------------------------------------------------------------------------------------------------
    def predict(
        self,
        latents: torch.Tensor,
        times: torch.Tensor,
        states: torch.Tensor,
        replaced: dict[str, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """What the denoiser says of x_t under states: the noise, or a velocity (``schedule.target``).

        Args:
            times: one timestep or (n,).
            replaced: other values of some of its parameters; differentiable.
        """
        arguments = self.family.arguments(latents.to(self.dtype), times, states.to(self.dtype))
        if replaced is None:
            said = self.denoiser(**arguments)
        else:
            dtype = self.dtype
            given = {name: value.to(dtype) for name, value in replaced.items()}
            said = torch.func.functional_call(self.denoiser, given, (), arguments)
        return self.family.prediction(said, latents).to(self.precision)

    @property
    def schedule(self) -> Schedule:
        """Noise levels, and what is predicted."""
        return self.family.schedule

    def add_noise(self, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """x_t = α_t x_0 + σ_t ε."""
        return self.schedule.add_noise(clean, noise, times)

    def target(self, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """What a perfect denoiser predicts there."""
        return self.schedule.target(clean, noise, times)

    def initial_noise(self, seeds: list[int]) -> torch.Tensor:
        """One latent a seed, drawn on the CPU so that every device starts from the same noise."""
        draws = [torch.randn(self.latent_shape, generator=torch.Generator().manual_seed(int(s))) for s in seeds]
        return torch.stack(draws).to(self.device, self.precision)

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
        """Draw with the family's sampler and classifier-free guidance, both halves in one batch.

        Args:
            states: (n, L, d) of the prompts.
            seeds: n of them.
            guidance: one scale, or one a prompt.
            keep: keep the latents of all steps (otherwise ``latents`` is empty).
            predict: predicts in this model's place, as ``predict`` does.
            until: stop before this step; ``final`` is then what is left of the noise there.
            start: (n, c, h, w), what sampling starts from: with ``strength`` 1 in the place of the seeds' noise; below
                1 clean latents, to which that noise is added, and only that share of the steps is made.

        Raises:
            UserError: a strength that leaves no step.
        """
        scheduler = self.family.sampler(steps, self.device)
        latents, first = self.initial_noise(seeds) * getattr(scheduler, "init_noise_sigma", 1.0), 0
        if start is not None:
            first = steps - round(steps * strength)
            if first >= steps:
                raise UserError(f"A strength of {strength} leaves none of {steps} sampling steps: give more of either.")
            start = start.to(latents)
            if first:
                scheduler.set_begin_index(first)
            latents = start if strength == 1 else self.add_noise(start, latents, scheduler.timesteps[first].view(1))
        both = torch.cat([self.encode([""]).expand(len(states), -1, -1), states.to(self.dtype)])
        scale = torch.as_tensor(guidance, device=self.device, dtype=self.precision).view(-1, 1, 1, 1)
        guided = bool((scale != 1).any())
        kept, predict = [], predict or self.predict
        times = scheduler.timesteps[first:until]
        for index, time in enumerate(times):
            shown = scheduler.scale_model_input(latents, time) if hasattr(scheduler, "scale_model_input") else latents
            if keep:
                kept.append(shown)
            if guided:
                blank, wanted = predict(torch.cat([shown, shown]), time, both).chunk(2)
                said = blank + scale * (wanted - blank)
            else:  # the empty prompt would be taken out again
                said = predict(shown, time, states.to(self.dtype))
            latents = scheduler.step(said, time, latents).prev_sample
            if on_step:
                on_step(index)
        path = torch.stack(kept) if keep else latents.new_empty(0, *latents.shape)
        return Trajectory(times, path, latents)

    # pictures -----------------------------------------------------------------------------------------------------
    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """Clean latents to pictures, (n, H, W, 3) uint8 RGB.

        Raises:
            UserError: a picture has values that are no numbers; cast to whole ones they would look like a picture
                without the concept.
        """
        images = self.pipe.vae.decode(self.family.to_picture_space(latents).to(self.dtype)).sample
        broken = int((~images.isfinite()).flatten(1).any(1).sum())
        if broken:
            raise UserError(
                f"{broken} of {len(images)} pictures came out as no numbers (NaN or infinite), which nobody can judge: "
                "look at the model's or the checkpoint's weights, at the guidance, and at model.dtype."
            )
        return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    @torch.no_grad()
    def encode_images(self, images: np.ndarray) -> torch.Tensor:
        """Pictures (n, H, W, 3) uint8 to clean latents (the mean, not a draw)."""
        pixels = torch.from_numpy(np.asarray(images)).permute(0, 3, 1, 2).to(self.device, self.dtype) / 127.5 - 1
        return self.family.from_picture_space(self.pipe.vae.encode(pixels).latent_dist.mean.to(self.precision))

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
        parts = [part for part in editable(self.pipe) if "_excise_originals" in part.__dict__]
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
                module, own = owner(self.pipe, name)
                parameter = module.get_parameter(own)
                old.append((parameter, parameter.data))
                parameter.data = value.to(parameter)
            yield self
        finally:
            for parameter, data in reversed(old):
                parameter.data = data
