"""STEREO (Srivatsan et al. 2024)."""

from excise.erasers.registry import register

register("stereo", "excise.erasers.stereo.method:Stereo")
