"""Straw men that only hide a concept: what an attack is worth shows on these."""

from excise.erasers.registry import register

register("remap", "excise.erasers.hiding.method:Remap", maskable=False, grouped=False)
register("rename", "excise.erasers.hiding.method:Rename", maskable=False, grouped=False)
