"""Is the base model all there? transformers and diffusers draw missing weights by lot, and make up a vocabulary."""

from __future__ import annotations

from typing import Any

from excise.errors import UserError

TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")
DRAWING = {"params:draw", "params:study", "params:ablation", "params:benchmark"}  # who needs the model for more
FEWEST_WORDS = 16  # without its files a tokenizer has two or three tokens


def model_is_whole(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """Every weight of the base model is in its files, by names alone, and its tokenizers have vocabularies."""
    if "params:model" not in pipeline.inputs() or not DRAWING & pipeline.inputs():
        return
    from excise.checkpoints import find_checkpoint
    from excise.checkpoints.layout import Layout
    from excise.models.sketch import Sketch
    from excise.models.spec import ModelSpec

    spec = ModelSpec.model_validate(catalog["params:model"].load())
    of_no_matter = {"dtype": "float32", "gradient_checkpointing": False, "offload": False}  # "auto" is settled later
    model = Sketch(spec.model_copy(update=of_no_matter)).model
    for name, part in Layout.of(model).parts.items():
        folder = spec.unet_folder if name == "unet" and spec.unet_folder else spec.folder / name
        if not any(folder.glob("*.safetensors")):
            continue  # what there is instead is refused where it is loaded
        found = {part.find(key) for key in find_checkpoint(folder).keys}
        lacking = [weight for weight in part.shapes if weight not in found]
        if lacking:
            raise UserError(
                f"The {name} of the model in '{folder}' lacks {len(lacking)} of its weights, such as '{lacking[0]}': "
                "fetch the model anew."
            )
    for name in TOKENIZERS:
        words = getattr(model.pipe, name, None)
        if words is not None and len(words) < FEWEST_WORDS:
            raise UserError(
                f"The {name} of the model in '{spec.folder}' has a vocabulary of {len(words)}: fetch the model anew."
            )
