"""Files by the original names, written here by hand from diffusers' weights, and read back by diffusers' loader."""

from __future__ import annotations

import re

import pytest
import torch
from safetensors.torch import save_file

from architectures import PIXELS, make_architecture
from excise.checkpoints import check_checkpoint, find_checkpoint, kind_of, read_checkpoint
from excise.checkpoints.checkpoint import Checkpoint, Entry
from excise.checkpoints.layout import Layout, Part
from excise.exports.single_file import _unet
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel

RUN = {"id": "run-2", "versions": {}}
Tensors = dict[str, torch.Tensor]
DENOISER = "model.diffusion_model."


def renamed(state: Tensors, table: list[tuple[str, str]]) -> Tensors:
    """Names by the first of the patterns that fit from the start."""
    found = {}
    for name, value in state.items():
        for old, new in table:
            if re.match(old, name):
                found[re.sub(f"^{old}", new, name)] = value
                break
        else:
            raise AssertionError(f"{name} has no original name here")
    return found


def joined(state: Tensors, parts: list[str], name: str) -> Tensors:
    """Several weights and biases of a module, one below the other, under one name."""
    out = {}
    for end in ("weight", "bias"):
        if f"{parts[0]}.{end}" in state:
            out[f"{name}.{end}"] = torch.cat([state.pop(f"{part}.{end}") for part in parts])
    return out


def swapped(value: torch.Tensor) -> torch.Tensor:
    return torch.cat(value.chunk(2)[::-1])


def ldm_unet(unet) -> Tensors:
    """The U-Net of Stable Diffusion 2 or XL: as the exporter names 1's, with XL's embedding of sizes."""
    modules = dict(_unet(unet)) | {f"add_embedding.linear_{k}": f"label_emb.0.{2 * k - 2}" for k in (1, 2)}
    found = {}
    for name, value in unet.state_dict().items():
        path = max((m for m in modules if name.startswith(f"{m}.")), key=len)
        found[DENOISER + modules[path] + name[len(path) :]] = value
    return found


def open_clip(encoder) -> Tensors:
    state = {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}
    found = {}
    for i in range(encoder.config.num_hidden_layers):
        module = f"encoder.layers.{i}.self_attn"
        made = joined(state, [f"{module}.{k}_proj" for k in "qkv"], "in_proj")
        found |= {f"transformer.resblocks.{i}.attn.{key.replace('.', '_')}": value for key, value in made.items()}
    if "text_projection.weight" in state:
        found["text_projection"] = state.pop("text_projection.weight").T
    inner = [(r"mlp\.fc1", "mlp.c_fc"), (r"mlp\.fc2", "mlp.c_proj"), (r"self_attn", "attn"), (r"layer_norm", "ln_")]
    for name, value in state.items():
        name = re.sub(r"^encoder\.layers\.", "transformer.resblocks.", name)
        for old, new in inner:
            name = re.sub(rf"(resblocks\.\d+\.){old}", rf"\1{new}", name)
        name = name.replace("final_layer_norm", "ln_final").replace("embeddings.token_embedding", "token_embedding")
        found[name.replace("embeddings.position_embedding.weight", "positional_embedding")] = value
    return found


def clip(encoder) -> Tensors:
    state = encoder.state_dict()
    return {n if n.startswith(("text_model.", "text_projection")) else f"text_model.{n}": v for n, v in state.items()}


def sd3_transformer(transformer) -> Tensors:
    state, found = dict(transformer.state_dict()), {}
    last = transformer.config.num_layers - 1
    for i in range(last + 1):
        old, new = f"transformer_blocks.{i}", f"joint_blocks.{i}"
        found |= joined(state, [f"{old}.attn.to_{k}" for k in "qkv"], f"{new}.x_block.attn.qkv")
        found |= joined(state, [f"{old}.attn.add_{k}_proj" for k in "qkv"], f"{new}.context_block.attn.qkv")
    state["norm_out.linear.weight"], state["norm_out.linear.bias"] = (
        swapped(state[f"norm_out.linear.{end}"]) for end in ("weight", "bias")
    )
    for end in ("weight", "bias"):
        name = f"transformer_blocks.{last}.norm1_context.linear.{end}"
        state[name] = swapped(state[name])
    table = [
        *((r"pos_embed\.pos_embed", "pos_embed"), (r"pos_embed\.proj", "x_embedder.proj")),
        (r"time_text_embed\.timestep_embedder\.linear_1", "t_embedder.mlp.0"),
        (r"time_text_embed\.timestep_embedder\.linear_2", "t_embedder.mlp.2"),
        (r"time_text_embed\.text_embedder\.linear_1", "y_embedder.mlp.0"),
        (r"time_text_embed\.text_embedder\.linear_2", "y_embedder.mlp.2"),
        *((r"context_embedder", "context_embedder"), (r"proj_out", "final_layer.linear")),
        (r"norm_out\.linear", "final_layer.adaLN_modulation.1"),
        (r"transformer_blocks\.(\d+)\.attn\.to_out\.0", r"joint_blocks.\1.x_block.attn.proj"),
        (r"transformer_blocks\.(\d+)\.attn\.to_add_out", r"joint_blocks.\1.context_block.attn.proj"),
        (r"transformer_blocks\.(\d+)\.norm1\.linear", r"joint_blocks.\1.x_block.adaLN_modulation.1"),
        (r"transformer_blocks\.(\d+)\.norm1_context\.linear", r"joint_blocks.\1.context_block.adaLN_modulation.1"),
        (r"transformer_blocks\.(\d+)\.ff\.net\.0\.proj", r"joint_blocks.\1.x_block.mlp.fc1"),
        (r"transformer_blocks\.(\d+)\.ff\.net\.2", r"joint_blocks.\1.x_block.mlp.fc2"),
        (r"transformer_blocks\.(\d+)\.ff_context\.net\.0\.proj", r"joint_blocks.\1.context_block.mlp.fc1"),
        (r"transformer_blocks\.(\d+)\.ff_context\.net\.2", r"joint_blocks.\1.context_block.mlp.fc2"),
    ]
    return {DENOISER + name: value for name, value in (found | renamed(state, table)).items()}


def flux_transformer(transformer) -> Tensors:
    state, found = dict(transformer.state_dict()), {}
    for i in range(transformer.config.num_layers):
        old, new = f"transformer_blocks.{i}", f"double_blocks.{i}"
        found |= joined(state, [f"{old}.attn.to_{k}" for k in "qkv"], f"{new}.img_attn.qkv")
        found |= joined(state, [f"{old}.attn.add_{k}_proj" for k in "qkv"], f"{new}.txt_attn.qkv")
    for i in range(transformer.config.num_single_layers):
        old = f"single_transformer_blocks.{i}"
        parts = [*(f"{old}.attn.to_{k}" for k in "qkv"), f"{old}.proj_mlp"]
        found |= joined(state, parts, f"single_blocks.{i}.linear1")
    for end in ("weight", "bias"):
        state[f"norm_out.linear.{end}"] = swapped(state[f"norm_out.linear.{end}"])
    both, one = r"transformer_blocks\.(\d+)\.", r"single_transformer_blocks\.(\d+)\."
    table = [
        *((rf"time_text_embed\.{a}_embedder\.linear_1", f"{b}_in.in_layer") for a, b in EMBEDDERS),
        *((rf"time_text_embed\.{a}_embedder\.linear_2", f"{b}_in.out_layer") for a, b in EMBEDDERS),
        *((r"context_embedder", "txt_in"), (r"x_embedder", "img_in"), (r"proj_out", "final_layer.linear")),
        (r"norm_out\.linear", "final_layer.adaLN_modulation.1"),
        *((rf"{both}norm1\.linear", r"double_blocks.\1.img_mod.lin"),),
        *((rf"{both}norm1_context\.linear", r"double_blocks.\1.txt_mod.lin"),),
        *((rf"{both}attn\.norm_{k}\.weight", rf"double_blocks.\1.img_attn.norm.{n}_norm.scale") for k, n in NORMS),
        *(
            (rf"{both}attn\.norm_added_{k}\.weight", rf"double_blocks.\1.txt_attn.norm.{n}_norm.scale")
            for k, n in NORMS
        ),
        *(
            (rf"{both}ff\.net\.0\.proj", r"double_blocks.\1.img_mlp.0"),
            (rf"{both}ff\.net\.2", r"double_blocks.\1.img_mlp.2"),
        ),
        (rf"{both}ff_context\.net\.0\.proj", r"double_blocks.\1.txt_mlp.0"),
        (rf"{both}ff_context\.net\.2", r"double_blocks.\1.txt_mlp.2"),
        (rf"{both}attn\.to_out\.0", r"double_blocks.\1.img_attn.proj"),
        (rf"{both}attn\.to_add_out", r"double_blocks.\1.txt_attn.proj"),
        *((rf"{one}attn\.norm_{k}\.weight", rf"single_blocks.\1.norm.{n}_norm.scale") for k, n in NORMS),
        *(
            (rf"{one}norm\.linear", r"single_blocks.\1.modulation.lin"),
            (rf"{one}proj_out", r"single_blocks.\1.linear2"),
        ),
    ]
    return found | renamed(state, table)


EMBEDDERS = (("timestep", "time"), ("text", "vector"), ("guidance", "guidance"))
NORMS = (("q", "query"), ("k", "key"))


def under(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: value for name, value in tensors.items()}


ORIGINALS = {
    "sd21": lambda pipe: ldm_unet(pipe.unet) | under("cond_stage_model.model.", open_clip(pipe.text_encoder)),
    "sdxl": lambda pipe: (
        ldm_unet(pipe.unet)
        | under("conditioner.embedders.0.transformer.", clip(pipe.text_encoder))
        | under("conditioner.embedders.1.model.", open_clip(pipe.text_encoder_2))
    ),
    "sd3": lambda pipe: (
        sd3_transformer(pipe.transformer)
        | under("text_encoders.clip_l.transformer.", clip(pipe.text_encoder))
        | under("text_encoders.clip_g.transformer.", clip(pipe.text_encoder_2))
        | under("text_encoders.t5xxl.transformer.", dict(pipe.text_encoder_3.state_dict()))
    ),
}
NEEDLESS = {"model_ema.decay": torch.zeros(1), "alphas_cumprod": torch.zeros(3)}


@pytest.mark.parametrize("architecture", ORIGINALS)
def test_a_file_by_the_original_names_is_the_model_that_it_was_written_from(architecture, tmp_path):
    folder = make_architecture(architecture, tmp_path / architecture)
    spec = ModelSpec(name=architecture, path=str(folder), device="cpu", pixels=PIXELS[architecture])
    model, erased = DiffusionModel.load(spec), DiffusionModel.load(spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # every weight is another one: none may arrive in another's place
        for parameter in erased.weights().values():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    path = tmp_path / "original.safetensors"
    tensors = {name: value.clone().contiguous() for name, value in ORIGINALS[architecture](erased.pipe).items()}
    save_file(tensors | NEEDLESS, path)
    assert kind_of(find_checkpoint(path))[0] == check_checkpoint(str(path), spec) == "single_file"
    audited, told = read_checkpoint(str(path), model, "person", RUN)
    expected = erased.weights()
    assert audited.weights.keys() == expected.keys()
    for name, value in audited.weights.items():
        assert torch.equal(value, expected[name]), name
    assert sum(told["changed"].values()) == len(expected)


# in their true size, by shapes alone ----------------------------------------------------------------------------------
def sketched(tensors: Tensors, tmp_path) -> tuple[Checkpoint, Tensors]:
    """A file of these shapes, without the file."""
    entries = {name: Entry(tmp_path / "none", name, "F32", tuple(value.shape)) for name, value in tensors.items()}
    return Checkpoint(tmp_path / "none", entries), tensors


@pytest.fixture(scope="module")
def flux() -> Layout:
    """FLUX.1's transformer, as wide as it is and two blocks deep: diffusers' loader knows no other width."""
    from diffusers import FluxTransformer2DModel

    with torch.device("meta"):
        transformer = FluxTransformer2DModel(num_layers=1, num_single_layers=1, guidance_embeds=True)
    return Layout("flux", "FluxPipeline", None, {"transformer": Part.of("transformer", transformer)})


def test_flux_by_its_original_names(flux, tmp_path):
    checkpoint, tensors = sketched(flux_transformer(flux.denoiser.module), tmp_path)
    name, kind = kind_of(checkpoint)
    change = kind.read(checkpoint, tensors, flux)
    assert name == "single_file" and change.weights.keys() == flux.denoiser.shapes.keys()


def test_a_lora_of_flux_by_its_original_names(flux, tmp_path):
    """kohya's scripts train queries, keys and values together; diffusers' loader takes them apart."""
    down, up = torch.randn(4, 3072), torch.randn(3 * 3072, 4)
    pair = {"lora_down.weight": down, "lora_up.weight": up, "alpha": torch.tensor(2.0)}
    checkpoint, tensors = sketched(under("lora_unet_double_blocks_0_img_attn_qkv.", pair), tmp_path)
    name, kind = kind_of(checkpoint)
    change = kind.read(checkpoint, tensors, flux)
    assert name == "lora" and set(change.added) == {f"transformer_blocks.0.attn.to_{k}.weight" for k in "qkv"}
    for k, rows in zip("qkv", up.chunk(3), strict=True):
        [low] = change.added[f"transformer_blocks.0.attn.to_{k}.weight"]
        torch.testing.assert_close(low.scale * low.up @ low.down, 0.5 * rows @ down, rtol=1e-4, atol=1e-4)


def test_a_lora_of_sdxl_by_its_original_names(tmp_path):
    """kohya's scripts count the blocks of XL's U-Net through, as its original does."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 1, 1),
            cross_attention_dim=2048,
            attention_head_dim=(5, 10, 20),
            use_linear_projection=True,
        )
    layout = Layout("sdxl", "StableDiffusionXLPipeline", "epsilon", {"unet": Part.of("unet", unet)})
    pair = {"lora_down.weight": torch.zeros(4, 2048), "lora_up.weight": torch.zeros(640, 4), "alpha": torch.tensor(2.0)}
    module = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k."
    checkpoint, tensors = sketched(under(module, pair), tmp_path)
    change = kind_of(checkpoint)[1].read(checkpoint, tensors, layout)
    [(name, [low])] = change.added.items()
    assert name == "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight" and low.scale == 0.5
