"""Options of attacks by projection to the nearest tokens; apart from the search, which needs torch."""

from __future__ import annotations

from pydantic import Field

from .search import SearchAttack


class NearestAttack(SearchAttack):
    """Options that attacks of this kind share.

    Attributes:
        lr, weight_decay: of Adam (Wen et al. and Chin et al.: .1 and .1).
        check_every: every so many steps the nearest tokens are scored on ``checks`` fixed pairs of noise and timestep;
            the best that were met are kept.
    """

    lr: float = Field(0.1, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    check_every: int = Field(10, ge=1)
    checks: int = Field(4, ge=1)

    def checked(self, steps: int) -> int:
        """Evaluations without a backward pass that scoring takes over so many steps."""
        return self.checks * -(-steps // self.check_every)
