"""AdvUnlearn (Zhang et al. 2024)."""

from excise.erasers.registry import register

# its weights are the text encoder's, which no mask of ours covers
register("advunlearn", "excise.erasers.advunlearn.method:AdvUnlearn", maskable=False, grouped=False)
