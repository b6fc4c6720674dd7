"""Judges of what else prompts say: the style of things, the thing in a style."""

from __future__ import annotations

from typing import Annotated, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from excise.concepts import Concept
from excise.concepts.concept import JudgeSpec
from excise.errors import UserError
from excise.images import ImageSet
from excise.judges.judge import Judge
from excise.pipelines.evaluate.nodes import RETAIN

PROMPTS = {"retain": RETAIN, "target": ["target"]}


class CrossJudge(BaseModel):
    """Who looks for something that prompts also say.

    Attributes:
        domain: what it tells apart. Styles are looked for where a thing is erased, things where a style is.
        name, options, threshold: the judge, as in a concept.
        words: label -> words for it in prompts; none for a judge whose labels are such words themselves.
    """

    model_config = ConfigDict(extra="forbid")
    domain: Literal["style", "thing"]
    name: str
    options: dict[str, int | float | str | bool] = {}
    threshold: float = Field(0.0, ge=0, le=1)
    words: dict[str, list[Annotated[str, Field(min_length=1)]]] = {}

    def ready(self) -> Judge:
        """The judge.

        Raises:
            UserError: there is no such judge, or it does not know a label.
        """
        from excise.judges import make_judge

        judge = make_judge(JudgeSpec(name=self.name, options=self.options, threshold=self.threshold))
        unknown = [label for label in self.words if label not in judge.labels]
        if unknown:
            raise UserError(
                f"fidelity.cross: the judge '{self.name}' has no label '{unknown[0]}': use some of "
                f"{', '.join(judge.labels)}."
            )
        return judge

    def asked(self, judge: Judge, prompts: pd.DataFrame, kind: Literal["retain", "target"]) -> pd.Series:
        """Test prompts of a kind that name one of its labels: prompt_id -> label."""
        from excise.metrics.cross_domain import asked_labels

        test = prompts[prompts["set"].isin(PROMPTS[kind]) & (prompts["split"] == "test")]
        return asked_labels(
            test.set_index("prompt_id")["prompt"], self.words or {label: [label] for label in judge.labels}
        )


def of_another_domain(concept: Concept, judges: list[CrossJudge]) -> list[CrossJudge]:
    """Those who look for what the concept is not."""
    other = "thing" if concept.kind == "style" else "style"
    return [judge for judge in judges if judge.domain == other]


def cross_rates(judges: list[tuple[CrossJudge, Judge]], prompts: pd.DataFrame, images: ImageSet) -> dict[str, dict]:
    """By ``<judge>_<kind of prompts>``, where prompts say something that the judge looks for.

    Args:
        judges: each with itself made ready, once for all models.
        prompts: prompt_id, set, split, prompt.
        images: one model's pictures of plain prompts.
    """
    from excise.judges.judging import judge_images, right
    from excise.metrics.cross_domain import CrossRate
    from excise.metrics.utility import retain_rate

    found = {}
    for spec, judge in judges:
        who = {"judge": judge.name, "version": judge.version, "sha256": judge.sha256, "threshold": spec.threshold}
        for kind in PROMPTS:
            asked = spec.asked(judge, prompts, kind)
            if asked.empty:
                continue
            shown = images.manifest[images.manifest["prompt_id"].isin(asked.index)].reset_index(drop=True)
            seen = right(judge_images(judge, ImageSet(images.folder, shown)), asked, spec.threshold)
            rate = retain_rate(seen.rename(columns={"hit": "right"}), asked.index)
            commonest = float(asked.value_counts(normalize=True).iloc[0])
            told = CrossRate(**rate.model_dump(), prompts=kind, labels=asked.nunique(), commonest=commonest, **who)
            found[f"{judge.name}_{kind}"] = told.model_dump()
    return found
