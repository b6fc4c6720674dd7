"""Judges of what else prompts say: the style of things, the thing in a style."""

from __future__ import annotations

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from excise.concepts import Concept
from excise.concepts.concept import JudgeSpec
from excise.errors import UserError
from excise.images import ImageSet
from excise.judges.judge import Judge
from excise.pipelines.evaluate.nodes import RETAIN


class CrossJudge(BaseModel):
    """Who looks at pictures of what must survive for something that their prompts also say.

    Attributes:
        name, options, threshold: the judge, as in a concept.
        words: label -> words for it in prompts; none for a judge whose labels are such words themselves.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    options: dict[str, int | float | str | bool] = {}
    threshold: float = Field(0.0, ge=0, le=1)
    words: dict[str, list[str]] = {}

    def ready(self) -> Judge:
        """The judge.

        Raises:
            UserError: there is no such judge, or it does not know a label.
        """
        from excise.judges import make_judge

        judge = make_judge(JudgeSpec(name=self.name, options=self.options, threshold=self.threshold))
        unknown = [label for label in self.words if label not in judge.labels]
        if unknown:
            known = ", ".join(judge.labels)
            raise UserError(
                f"fidelity.cross: the judge '{self.name}' has no label '{unknown[0]}': use some of {known}."
            )
        return judge


def of_another_domain(concept: Concept, judges: list[CrossJudge]) -> list[CrossJudge]:
    """All but the judge that tells whether the concept's own neighbours are still drawn."""
    return [judge for judge in judges if judge.name != concept.retain_judge.name]


def cross_rates(judges: list[CrossJudge], prompts: pd.DataFrame, images: ImageSet) -> list[dict]:
    """CRA by each judge that has something to look for.

    Args:
        prompts: prompt_id, set, split, prompt.
        images: one model's pictures of plain prompts.
    """
    from excise.judges.judging import judge_images, right
    from excise.metrics.cross_domain import CrossRate, asked_labels
    from excise.metrics.utility import retain_rate

    test = prompts[prompts["set"].isin(RETAIN) & (prompts["split"] == "test")].set_index("prompt_id")["prompt"]
    found = []
    for spec in judges:
        judge = spec.ready()
        asked = asked_labels(test, spec.words or {label: [label] for label in judge.labels})
        if asked.empty:
            continue
        shown = images.manifest[images.manifest["prompt_id"].isin(asked.index)].reset_index(drop=True)
        seen = right(judge_images(judge, ImageSet(images.folder, shown)), asked, spec.threshold)
        rate = retain_rate(seen.rename(columns={"hit": "right"}), asked.index)
        who = {"judge": judge.name, "version": judge.version, "sha256": judge.sha256, "threshold": spec.threshold}
        found.append(CrossRate(**rate.model_dump(), labels=asked.nunique(), **who).model_dump())
    return found
