"""Saliency Unlearning (Fan et al. 2024)."""

from excise.erasers.registry import register

register("salun", "excise.erasers.salun.method:SalUn")
