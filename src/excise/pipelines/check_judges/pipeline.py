"""known pictures -> each concept's judges -> how often they err, and how often they agree."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from .nodes import check_judges, write_judges

J = "judges"


def create_pipeline(**_) -> Pipeline:
    return Pipeline(
        [
            Node(
                check_judges,
                ["concepts", "params:known_pictures", "cache"],
                f"{J}.errors",
                name="check_judges",
                namespace=J,
            ),
            Node(write_judges, [f"{J}.errors", "run_info"], f"{J}.page", name="write_judges", namespace=J),
        ]
    )
