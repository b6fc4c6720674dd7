"""Architectures: how a pipeline of diffusers is asked, one file each."""

from .family import FAMILIES, Family, family_of, register

__all__ = ["FAMILIES", "Family", "family_of", "register"]

register("StableDiffusionPipeline", "excise.models.families.stable_diffusion:StableDiffusion")
register("StableDiffusionXLPipeline", "excise.models.families.sdxl:StableDiffusionXL")
register("StableDiffusion3Pipeline", "excise.models.families.sd3:StableDiffusion3")
register("FluxPipeline", "excise.models.families.flux:Flux")
