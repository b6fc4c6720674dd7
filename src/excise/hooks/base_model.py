"""Is the base model all there? transformers and diffusers draw missing weights by lot, and make up a vocabulary."""

from __future__ import annotations

from typing import Any

from excise.errors import UserError

TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")


def model_is_whole(run_params: dict[str, Any], catalog: Any, pipeline: Any) -> None:
    """Every weight of the base model is in its files, by names and shapes, and its tokenizers tell words apart."""
    if not any(name == "params:model" or name.startswith("params:model.") for name in pipeline.inputs()):
        return
    from excise.checkpoints import check_checkpoint
    from excise.models.sketch import Sketch
    from excise.models.spec import ModelSpec

    spec = ModelSpec.model_validate(catalog["params:model"].load())
    for folder in filter(None, (spec.folder, spec.unet_folder)):
        check_checkpoint(str(folder), spec)
    pipe = Sketch(spec).model.pipe
    for name in TOKENIZERS:
        words = getattr(pipe, name, None)
        if words is not None and words("a cat").input_ids == words("a dog").input_ids:
            raise UserError(
                f"The {name} of '{spec.folder}' takes 'a cat' and 'a dog' for one, so that it has no vocabulary: fetch "
                "the model anew."
            )
