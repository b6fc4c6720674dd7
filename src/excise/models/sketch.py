"""A model without its weights: shapes only, from its configs, to ask what a computation takes before it is made."""

from __future__ import annotations

import json
from contextlib import contextmanager
from importlib import import_module

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from excise.errors import UserError

from .diffusion import DiffusionModel
from .families import family_of
from .memory import NOT_NEEDED
from .spec import ModelSpec


class Sketch:
    """A model of fake tensors: every operation gives its result's shape, and computes and allocates nothing.

    Attributes:
        model: the model; use it inside ``with sketch.faked()``.
    """

    def __init__(self, spec: ModelSpec):
        from torch._subclasses.fake_tensor import FakeTensorMode

        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        before = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, spec.dtype))  # fake parameters cannot change theirs afterwards
        try:
            self.model = DiffusionModel(_pipe(spec, self._mode), spec)
        finally:
            torch.set_default_dtype(before)

    @contextmanager
    def faked(self):
        """Everything that is computed inside is fake."""
        with self._mode:
            yield self.model

    def kept_for_backward(self, latents: int, trained: list[str]) -> int:
        """Bytes that one evaluation of the denoiser keeps for its gradient, besides the weights.

        Args:
            latents: evaluated together.
            trained: names of the denoiser's parameters that get a gradient; none of them: the prompt's states do.
        """
        kept: dict[int, int] = {}
        with self.faked() as model:
            own = {_storage(p) for p in model.denoiser.parameters()}

            def pack(tensor):
                if _storage(tensor) not in own:
                    kept[_storage(tensor)] = tensor.untyped_storage().nbytes()
                return tensor

            for name in trained:
                model.denoiser.get_parameter(name).requires_grad_(True)
            try:
                states = self._states(latents).requires_grad_(not trained)
                with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                    result = model.predict(*self._shown(latents), states)  # held: it keeps what was saved
            finally:
                model.denoiser.requires_grad_(False)
            del result
        return sum(kept.values())

    def widest_step(self, latents: int) -> int:
        """Bytes that the widest operation reads and writes when pictures are drawn and decoded, weights left out.

        The most that is held at once is at least this.
        """
        with self.faked() as model, torch.no_grad():
            own = {_storage(p) for part in (model.denoiser, model.pipe.vae) for p in part.parameters()}
            noise, times = self._shown(2 * latents)  # guidance asks twice
            states = self._states(2 * latents)
            with _Widest(own) as denoising:
                model.predict(noise, times, states)
            clean = model.family.to_picture_space(noise[:latents]).to(model.dtype)
            with _Widest(own) as decoding:
                model.pipe.vae.decode(clean)
        return max(denoising.bytes, decoding.bytes)

    def _states(self, n: int) -> torch.Tensor:
        return torch.zeros(n, *self.model.family.state_shape, dtype=self.model.dtype)

    def _shown(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        latents = torch.zeros(n, *self.model.latent_shape, dtype=self.model.precision)
        return latents, torch.zeros(n, dtype=torch.long)


class _Widest(TorchDispatchMode):
    """Remembers the most bytes that one operation had before it, what it made included."""

    def __init__(self, left_out: set[int]):
        super().__init__()
        self.left_out, self.bytes = left_out, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        leaves = torch.utils._pytree.tree_leaves((args, kwargs, out))
        held = {_storage(t): t.untyped_storage().nbytes() for t in leaves if isinstance(t, torch.Tensor)}
        self.bytes = max(self.bytes, sum(size for key, size in held.items() if key not in self.left_out))
        return out


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _pipe(spec: ModelSpec, faked):
    """The pipeline of a folder, its modules from their configs; schedulers and tokenizers are real.

    Raises:
        UserError: a part is missing, or what describes it is damaged or is of another kind of model.
    """
    family_of(spec.pipeline_class)  # or refused by name
    try:
        return _assemble(spec, faked)
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ImportError,
    ) as error:  # diffusers raises all these
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"The model in '{spec.folder}' cannot be put together ({said}): fetch it anew.") from None


def _assemble(spec: ModelSpec, faked):
    import diffusers

    folder, parts = spec.folder, {}
    index = json.loads((folder / "model_index.json").read_text())
    for name, described in index.items():
        if name.startswith("_") or not isinstance(described, list):
            continue
        library, kind = described
        if kind is None or name in (*NOT_NEEDED, "feature_extractor"):
            parts[name] = None
            continue
        cls, where = getattr(import_module(library), kind), folder / name
        if name == "unet" and spec.unet_folder:
            where = spec.unet_folder
        if not where.is_dir():
            raise FileNotFoundError(f"there is no folder '{name}', which its model_index.json names")
        if not (isinstance(cls, type) and issubclass(cls, torch.nn.Module)):
            parts[name] = cls.from_pretrained(where, local_files_only=True)
            continue
        read = cls.config_class.from_pretrained if library == "transformers" else cls.load_config
        config = read(where, local_files_only=True)
        with faked:
            parts[name] = cls(config) if library == "transformers" else cls.from_config(config)
    options = {key: value for key, value in index.items() if not key.startswith("_") and not isinstance(value, list)}
    return getattr(diffusers, index["_class_name"])(**parts, **options)
