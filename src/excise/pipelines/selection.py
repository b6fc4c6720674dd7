"""Which concept a pipeline works on: ``--params=concept=NAME``, else the default of the pipeline's kind.

Pipelines are namespaced by the concept's name, so the choice has to be known before they are built.
"""

from __future__ import annotations

from collections.abc import Mapping

# what conf/base/globals.yml says, for commands that build pipelines without reading the configuration
# (`kedro registry describe`)
DEFAULTS = {"nsfw": "person", "style": "fluent", "object": "church"}

_concept: str | None = None
_defaults: dict[str, str] = dict(DEFAULTS)


def set_selection(concept: str | None, defaults: Mapping[str, str]) -> None:
    """Choose for all pipelines that are built from now on.

    Args:
        concept: the user's choice for this run, or None.
        defaults: kind -> concept; kinds that are not in it keep ``DEFAULTS``.
    """
    global _concept, _defaults
    chosen = (concept, {**DEFAULTS, **defaults})
    if chosen == (_concept, _defaults):
        return
    _concept, _defaults = chosen
    from kedro.framework.project import pipelines

    # Kedro keeps the pipelines that it built; a second run in this process would work on the first one's concept
    pipelines.configure("excise.pipeline_registry")


def selected_concept(kind: str) -> str:
    """The name of the concept for pipelines of a kind (``nsfw``, ``style``, ``object``)."""
    return _concept or _defaults[kind]


def pipeline_kind(pipeline: str) -> str | None:
    """The kind that a pipeline's name ends with: ``erase_nsfw`` -> ``nsfw``; None if it works on no kind."""
    return next((kind for kind in DEFAULTS if pipeline.endswith(f"_{kind}")), None)
