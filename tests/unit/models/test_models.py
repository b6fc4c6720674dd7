import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from torch import nn

from excise.errors import UserError
from excise.models import ModelSpec
from excise.models.diffusion import DiffusionModel
from excise.models.identity import model_sha256
from excise.models.layers import cross_attentions, feed_forwards, parameter_names


def test_loads_like_any_stable_diffusion(tiny_folder):
    pipe = StableDiffusionPipeline.from_pretrained(tiny_folder)
    pipe.set_progress_bar_config(disable=True)
    image = pipe("a church", num_inference_steps=2).images[0]
    assert image.size == (64, 64)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_identity_does_not_depend_on_the_dtype(tiny_spec, tiny_model, dtype):
    other = DiffusionModel.load(tiny_spec.model_copy(update={"dtype": dtype}))
    assert other.dtype == getattr(torch, dtype)
    assert other.sha256 == tiny_model.sha256


def test_identity_changes_with_a_weight_and_ignores_the_autoencoder(tiny_model):
    before = tiny_model.sha256
    with torch.no_grad():
        next(tiny_model.pipe.vae.parameters()).neg_()
    assert model_sha256(tiny_model.pipe) == before
    with torch.no_grad():
        next(tiny_model.denoiser.parameters()).view(-1)[3].neg_()
    assert tiny_model.sha256 != before


def test_a_missing_model_is_one_sentence():
    with pytest.raises(UserError, match="no diffusers model in 'nowhere'"):
        ModelSpec(name="x", path="nowhere").folder  # noqa: B018


def test_layers_are_found_by_structure(tiny_model):
    modules = dict(tiny_model.denoiser.named_modules())
    ffns, crosses = feed_forwards(tiny_model.denoiser), cross_attentions(tiny_model.denoiser)
    transformers = [n for n, m in modules.items() if type(m).__name__ == "BasicTransformerBlock"]
    assert len(ffns) == len(crosses) == len(transformers) > 0
    for f in ffns:
        assert modules[f.up].out_features == 2 * modules[f.down].in_features and f.gated
    for c in crosses:
        assert modules[c.key].in_features == tiny_model.pipe.text_encoder.config.hidden_size
    assert all(isinstance(modules[n], nn.Linear) for f in ffns for n in (f.up, f.down))


def test_parameter_groups_partition_as_in_the_paper(tiny_model):
    x, strict, u, full = (
        set(parameter_names(tiny_model.denoiser, g)) for g in ("esd-x", "esd-x-strict", "esd-u", "full")
    )
    assert strict < x < full and not x & u
    assert all("attn2" in n for n in x) and not any("attn2" in n for n in u)
    assert set(parameter_names(tiny_model.denoiser, "kv")) == strict
    assert set(parameter_names(tiny_model.denoiser, "ffn+kv")) == strict | set(
        parameter_names(tiny_model.denoiser, "ffn")
    )


def test_esd_u_holds_all_outside_cross_attention_but_output_and_time_embedding(tiny_model):
    """Module by module; what ends blocks, and what hands the time to them, is neither."""
    unet, outside = tiny_model.denoiser, ("conv_norm_out", "conv_out", "time_embedding")
    held = set()
    for name, module in unet.named_modules():
        parts = name.split(".")
        if parts[0] not in outside and "attn2" not in parts:
            held |= {f"{name}.{own}" for own, _ in module.named_parameters(recurse=False)}
    found = parameter_names(unet, "esd-u")
    assert set(found) == held and len(found) == len(held)
    assert any("attentions.0.proj_out" in n for n in found) and any("time_emb_proj" in n for n in found)


def test_noise_is_added_as_diffusers_adds_it(tiny_model):
    scheduler = DDPMScheduler.from_config(tiny_model.pipe.scheduler.config)
    clean, noise, times = torch.randn(3, 4, 16, 16), torch.randn(3, 4, 16, 16), torch.tensor([5, 400, 999])
    torch.testing.assert_close(tiny_model.add_noise(clean, noise, times), scheduler.add_noise(clean, noise, times))


def test_sampling_equals_diffusers_own_pipeline(tiny_model):
    """A second computation of the whole path: prompt, guidance, solver, decoder."""
    seeds = [3, 4]
    prompts = ["a church", "a fish on red"]
    ours = tiny_model.decode(tiny_model.sample(tiny_model.encode(prompts), seeds, steps=6, guidance=3.0).final)
    theirs = tiny_model.pipe(
        prompts, latents=tiny_model.initial_noise(seeds), num_inference_steps=6, guidance_scale=3.0, output_type="np"
    ).images
    assert np.abs(ours / 255 - theirs).max() < 0.01


def test_embeddings_of_tokens_give_the_states_of_tokens(tiny_model):
    ids = tiny_model.tokenize(["a green fish"])
    words = tiny_model.pipe.text_encoder.get_input_embeddings()(ids)
    torch.testing.assert_close(tiny_model.encode_embeddings(words, ids), tiny_model.encode_tokens(ids))
    assert not tiny_model.pipe.text_encoder.get_input_embeddings()._forward_hooks


def test_kept_trajectory_ends_at_the_same_latents(tiny_model):
    states = tiny_model.encode(["a church"])
    path = tiny_model.sample(states, [1], steps=5, keep=True)
    assert path.latents.shape == (5, 1, 4, 16, 16)
    torch.testing.assert_close(path.final, tiny_model.sample(states, [1], steps=5).final)
    torch.testing.assert_close(path.latents[0], tiny_model.initial_noise([1]))


def test_a_unet_without_its_weights_is_one_sentence(tiny_spec, tiny_folder, tmp_path):
    import shutil

    from excise.errors import UserError
    from excise.models.diffusion import DiffusionModel

    shutil.copytree(tiny_folder / "unet", tmp_path / "unet")
    for file in (tmp_path / "unet").glob("*.safetensors"):
        file.unlink()
    with pytest.raises(UserError, match="cannot be read") as caught:
        DiffusionModel.load(tiny_spec.model_copy(update={"unet": str(tmp_path / "unet")}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_numbers_are_no_picture(tiny_model, value):
    """Cast to whole numbers they would be one, and one without the concept."""
    latents = tiny_model.initial_noise([1, 2])
    latents[1] = value
    with pytest.raises(UserError, match="1 of 2 pictures came out as no numbers"):
        tiny_model.decode(latents)
