"""Every architecture in small: real classes of diffusers and transformers with random weights, to test plumbing."""

from __future__ import annotations

from pathlib import Path

PIXELS = {"sd15": None, "sd21": None, "sdxl": None, "sd3": None, "flux": 32}
ARCHITECTURES = tuple(PIXELS)


def make_architecture(name: str, folder: Path) -> Path:
    """Write a small random model of an architecture to a diffusers folder."""
    import torch

    torch.manual_seed(0)
    pipe = BUILDERS[name]()
    pipe.save_pretrained(folder)
    return folder


def _clip_tokenizer():
    from transformers import CLIPTokenizer

    from tiny import PROJECT

    return CLIPTokenizer.from_pretrained(PROJECT / "src/excise/embedded/emoji64/tokenizer")


def _second_tokenizer():
    """The same words, padded with another one, as the second tokenizers of SDXL and SD3 are."""
    tokenizer = _clip_tokenizer()
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def _t5_tokenizer():
    """A T5 tokenizer of the world's words, without a start token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import T5TokenizerFast

    words = sorted({w for text in _texts() for w in text.split()})
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), *((f"▁{w}", -5.0) for w in words)]
    pieces += [(c, -12.0) for c in "▁abcdefghijklmnopqrstuvwxyz-',"]
    core = Tokenizer(models.Unigram(pieces, unk_id=2))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    core.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return T5TokenizerFast(
        tokenizer_object=core, eos_token="</s>", pad_token="<pad>", unk_token="<unk>", extra_ids=0, model_max_length=24
    )


def _texts() -> list[str]:
    from tiny import the_world

    world = the_world()
    things = [w for t in (*world.objects.values(), *world.persons.values()) for w in t.words]
    rest = [*world.styles, *world.backgrounds, "a an in on style background picture of drawing icon emoji art drawn"]
    return [*things, *rest, *(w for s in world.styles.values() for w in s.words)]


def _clip(width: int, tokenizer, projection: int | None = None):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=projection or width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()


def _t5(width: int, tokenizer):
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=len(tokenizer) + 5,  # more rows than words, as the real ones have
        d_model=width,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    return T5EncoderModel(config).eval()


def _vae(channels: int, **scaling):
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=channels,
        sample_size=32,
        **scaling,
    ).eval()


def _unet(width: int, **more):
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=2,
        norm_num_groups=8,
        **more,
    ).eval()


def _stable_diffusion(prediction: str):
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    tokenizer = _clip_tokenizer()
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", prediction_type=prediction, clip_sample=False)
    return StableDiffusionPipeline(
        vae=_vae(4),
        text_encoder=_clip(32, tokenizer),
        tokenizer=tokenizer,
        unet=_unet(32),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl():
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    first, second = _clip_tokenizer(), _second_tokenizer()
    unet = _unet(
        48, addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 20
    )
    return StableDiffusionXLPipeline(
        vae=_vae(4, scaling_factor=0.13025),
        text_encoder=_clip(32, first),
        text_encoder_2=_clip(16, second, 20),
        tokenizer=first,
        tokenizer_2=second,
        unet=unet,
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear"),
        force_zeros_for_empty_prompt=True,
    )


def _sd3():
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    first, second, third = _clip_tokenizer(), _second_tokenizer(), _t5_tokenizer()
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=40,
        caption_projection_dim=16,
        pooled_projection_dim=24 + 20,
        pos_embed_max_size=8,
    )
    return StableDiffusion3Pipeline(
        vae=_vae(4, scaling_factor=1.5305, shift_factor=0.0609),
        text_encoder=_clip(16, first, 24),
        text_encoder_2=_clip(16, second, 20),
        text_encoder_3=_t5(40, third),
        tokenizer=first,
        tokenizer_2=second,
        tokenizer_3=third,
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def _flux():
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    first, second = _clip_tokenizer(), _t5_tokenizer()
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=40,
        pooled_projection_dim=32,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
    )
    return FluxPipeline(
        vae=_vae(4, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=_clip(32, first),
        tokenizer=first,
        text_encoder_2=_t5(40, second),
        tokenizer_2=second,
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, base_image_seq_len=256
        ),
    )


BUILDERS = {
    "sd15": lambda: _stable_diffusion("epsilon"),
    "sd21": lambda: _stable_diffusion("v_prediction"),
    "sdxl": _sdxl,
    "sd3": _sd3,
    "flux": _flux,
}
