"""How weights are pruned."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class PruneOptions(BaseModel):
    """Options of a pruning mask (our reconstruction of arXiv 2405.16534).

    Parameters that choose the support:
        group: parameters that may be pruned.
        neurons: ``correlated``: of these, only weights that write to or read from concept-correlated neurons;
            ``all``: the whole group.
        top: share of each layer's neurons that count as concept-correlated.

    Parameters of every mask:
        unit: what goes together: a single weight, or all weights of a neuron.

    Parameters of the learned mask:
        gates: ``hard_concrete`` (Louizos et al. 2018), whose number follows from the loss, or ``top_k``.
        rate: share of the gates that ``top_k`` closes.
        start: logit of a gate whose weight has the lowest score.
        spread: how much lower the highest score starts.
        lr, steps: Adam on the logits.
        weight_lr: Adam's rate on the weights that stay, trained along with the mask; 0 leaves them as they are, None
            takes the eraser's own. X+ and other masks are trained at the same rate.
        sparse_weight: weight of the fraction pruned; of ``hard_concrete`` gates alone, ``top_k`` has its rate.
        adversarial: half of the concept batch takes the attack's words on X; else plain prompts alone are learned from.
    """

    model_config = ConfigDict(extra="forbid")
    group: Literal["ffn", "kv", "v", "ffn+kv", "ffn+v"] = "ffn+kv"
    neurons: Literal["correlated", "all"] = "all"
    unit: Literal["weight", "neuron"] = "weight"
    gates: Literal["hard_concrete", "top_k"] = "hard_concrete"
    rate: float | None = Field(None, gt=0, lt=1)
    top: float = Field(0.1, gt=0, le=1)
    bins: int = Field(2, ge=1, description="timestep bins of the neuron statistics")
    start: float = 1.0
    spread: float = Field(0.5, ge=0)
    temperature: float = Field(2 / 3, gt=0)
    stretch: tuple[float, float] = (-0.1, 1.1)
    lr: float = Field(0.1, gt=0)
    steps: int = Field(300, ge=1)
    weight_lr: float | None = Field(0.0, ge=0)
    retain_weight: float = Field(4.0, ge=0)
    sparse_weight: float = Field(0.0, ge=0)
    adversarial: bool = True

    @model_validator(mode="after")
    def _gates_can_close(self) -> PruneOptions:
        if not self.stretch[0] < 0 < 1 < self.stretch[1]:
            raise ValueError(f"stretch is {self.stretch}: it must begin below 0 and end above 1")
        return self

    @model_validator(mode="after")
    def _rate_of_top_k(self) -> PruneOptions:
        if self.gates == "top_k" and self.rate is None:
            raise ValueError("top_k gates need a rate: say what share of the gates shall be closed")
        if self.gates == "top_k" and self.sparse_weight:
            raise ValueError("sparse_weight does nothing to top_k gates, whose number is fixed by rate: set it to 0")
        return self

    def rate_of_weights(self, eraser_lr: float) -> float:
        """Adam's rate on the weights beside the gates, for an eraser that is trained at ``eraser_lr``."""
        return eraser_lr if self.weight_lr is None else self.weight_lr
