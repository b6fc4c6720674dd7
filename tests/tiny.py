"""A real, tiny, untrained Stable Diffusion that reads emoji64's words: what the tests run on."""

from __future__ import annotations

from pathlib import Path

import yaml

from excise.embedded.autoencoder import AutoencoderOptions, build_autoencoder
from excise.embedded.clip import CLIPOptions, build_clip
from excise.embedded.denoiser import DenoiserOptions, build_denoiser
from excise.embedded.export import assemble_pipeline, export_pipeline
from excise.embedded.world import World
from excise.training import LoopOptions

PROJECT = Path(__file__).parent.parent
LOOP = LoopOptions(steps=1, batch=1, lr=1e-3)
BLIND = ("img2img", "tina", "finetuning", "quantising", "merging", "revival")
BUDGET = {  # parameters of a job that takes seconds
    "seed": 3,
    "eraser": "esd",
    "known_pictures": None,  # 400 of them
    "prompts": {"fit": 4, "tune": 2, "test": 4, "retain_fit": 4, "retain_test": 4},
    "erasers": {
        name: {"steps": 4, "batch": 4, "trajectories": 2, "sampling_steps": 3, "guidance": 2.0}
        for name in ("esd", "ac", "salun", "uce", "rece", "conceptprune", "advunlearn")
    }
    | {
        "stereo": {
            "steps": 4,
            "batch": 4,
            "trajectories": 2,
            "sampling_steps": 3,
            "guidance": 2.0,
            "options": {"rounds": 1, "round_steps": 2, "attack_steps": 2},
        }
    },
    "prune": {"steps": 4, "lr": 0.5},
    "neurons": {"timesteps": 2},
    "attacks": {name: {"steps": 4, "batch": 3} for name in ("unlearndiffatk", "textual_inversion")}
    | {
        name: {"steps": 2, "batch": 3, "images": 2 * (name not in BLIND)}
        for name in (
            *("p4d", "pez", "gcg", "mma", "ring_a_bell", "synonyms", "random_tokens", "seed_search"),
            *("img2img", "tina", "finetuning", "quantising", "merging", "revival"),
        )
    },
    "draw": {"steps": 2, "per_prompt": 3, "batch": 8},
}
# an untrained model shows no faces, but the probe finds an anchor in its smears, more or less: hits and misses to count
JUDGE = {"name": "object_probe", "labels": ["anchor"], "threshold": 0.44}


def the_world() -> World:
    """The world of emoji64, as the project's parameters describe it."""
    path = PROJECT / "conf/base/pretrain_emoji64/parameters_world.yml"
    return World(**yaml.safe_load(path.read_text())["world"])


def make_tiny(folder: Path) -> Path:
    """Write the tiny model to a diffusers folder."""
    import torch
    from transformers import CLIPTokenizer

    # not learned anew: merges of equal count come in any order, and the tiny model would differ from run to run
    tokenizer = CLIPTokenizer.from_pretrained(PROJECT / "src/excise/embedded/emoji64/tokenizer")
    clip = build_clip(
        CLIPOptions(
            width=32, text_layers=1, image_layers=1, heads=2, text_mlp=32, image_mlp=32, projection=16, loop=LOOP
        ),
        tokenizer,
    )
    vae = build_autoencoder(AutoencoderOptions(channels=(8, 8, 8), loop=LOOP))
    unet = build_denoiser(DenoiserOptions(channels=(16, 32), heads=2, loop=LOOP), text_width=32)
    torch.manual_seed(0)
    with torch.no_grad():  # an untrained network ignores its prompt almost; make it listen
        for name, p in unet.named_parameters():
            if "attn2" in name and name.endswith("weight"):
                p.mul_(4)
    export_pipeline(assemble_pipeline(vae.eval(), clip.eval(), tokenizer, unet.eval()), folder)
    return folder
