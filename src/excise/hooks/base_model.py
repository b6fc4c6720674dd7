"""Is the base model all there? transformers and diffusers draw missing weights by lot, and make up a vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from excise.errors import UserError

from .early import tables_to_be
from .options import options_of
from .used import GRIDS, attacks_of, erasers_of, whole_job

if TYPE_CHECKING:
    from excise.models.diffusion import DiffusionModel
    from excise.models.spec import ModelSpec

TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")
DRAWING = {"params:draw"} | GRIDS  # who needs the model for more
FEWEST_WORDS = 16  # without its files a tokenizer has two or three tokens


def model_is_whole(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """Every weight of the base model is in its files, by names and shapes, and its tokenizers have vocabularies."""
    identifies = any(name.endswith(".model") for name in pipeline.all_outputs())  # a first task or stage opens it
    if "params:model" not in pipeline.inputs() or not (identifies or DRAWING & pipeline.inputs()):
        return
    from excise.checkpoints import find_checkpoint
    from excise.checkpoints.layout import Layout, spell

    spec, model = _sketch(catalog)
    for name, part in Layout.of(model).parts.items():
        folder = spec.unet_folder if name == "unet" and spec.unet_folder else spec.folder / name
        if not any(folder.glob("*.safetensors")):
            continue  # what there is instead is refused where it is loaded
        stored = {part.find(key): (key, one.shape) for key, one in find_checkpoint(folder).entries.items()}
        lacking = [weight for weight in part.shapes if weight not in stored]
        if lacking:
            raise UserError(
                f"The {name} of the model in '{folder}' lacks {len(lacking)} of its weights, such as '{lacking[0]}': "
                "fetch the model anew."
            )
        for weight, shape in part.shapes.items():
            key, there = stored[weight]
            if tuple(there) != shape:
                raise UserError(
                    f"The {name} of the model in '{folder}' has '{key}' of shape {spell(there)}, and its config.json "
                    f"asks for {spell(shape)}: fetch the model anew."
                )
    for name in TOKENIZERS:
        words = getattr(model.pipe, name, None)
        if words is not None and len(words) < FEWEST_WORDS:
            raise UserError(
                f"The {name} of the model in '{spec.folder}' has a vocabulary of {len(words)}: fetch the model anew."
            )


def attacks_have_room(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """An attack's own tokens fit into what the model reads, and leave enough for a prompt: else it would look for fewer
    than it was told to, or drop all prompts, and that would be found late."""
    if "params:model" not in pipeline.inputs():
        return
    pipeline = whole_job(run_params, catalog, pipeline)
    attacks = attacks_of(catalog, pipeline)
    if not attacks:
        return
    from excise.attacks import make_attack

    searches = {o.method: made for o in attacks if hasattr(made := make_attack(o), "room")}
    if not searches:
        return
    _, model = _sketch(catalog)
    tables = [t[(t["set"] == "target") & (t["split"] == "test")] for _, t, _, _ in tables_to_be(catalog, pipeline)]
    prompts = [prompt for table in tables for prompt in table["prompt"]]
    lengths = map(len, model.tokenizer(prompts, add_special_tokens=False).input_ids) if prompts else []
    shortest = min(lengths, default=1)
    for name, attack in searches.items():
        if (own := getattr(attack, "tokens", 0)) > model.room:
            raise UserError(
                f"The attack '{name}' is to look for {own} tokens, and the model reads {model.room}: set "
                f"attacks.{name}.options.tokens lower."
            )
        if (room := attack.room(model)) < shortest:
            raise UserError(
                f"The attack '{name}' leaves {max(0, room)} of the {model.room} tokens that the model reads for the "
                f"prompt, and the shortest one has {shortest}: set attacks.{name}.options.tokens lower."
            )


def erasers_suit_the_model(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """A method that cannot work on this kind of model says so before trajectories are sampled for it."""
    if "params:model" not in pipeline.inputs():
        return
    erasers = erasers_of(catalog, whole_job(run_params, catalog, pipeline))
    if not erasers:
        return
    from excise.erasers import make_method

    asked = [method for method in map(make_method, erasers.values()) if hasattr(method, "refuses")]
    if not asked:
        return
    _, model = _sketch(catalog)
    for method in asked:
        if told := method.refuses(model):
            raise UserError(told)


def _sketch(catalog: Any) -> tuple[ModelSpec, DiffusionModel]:
    """The base model without its weights."""
    from excise.models.sketch import Sketch
    from excise.models.spec import ModelSpec

    spec = options_of(catalog, "model", ModelSpec)
    of_no_matter = {"dtype": "float32", "gradient_checkpointing": False, "offload": False}  # "auto" is settled later
    return spec, Sketch(spec.model_copy(update=of_no_matter)).model
