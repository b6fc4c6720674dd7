"""ConceptPrune (Chavhan et al. 2024)."""

from excise.erasers.registry import register

register("conceptprune", "excise.erasers.conceptprune.method:ConceptPrune", maskable=False, grouped=False)
