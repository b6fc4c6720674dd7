"""Erasers, attacks and judges from other packages: those that an entry point of the group ``excise.plugins`` names.

In the other package's ``pyproject.toml``::

    [project.entry-points."excise.plugins"]
    mine = "my_package"

Importing ``my_package`` must register what it brings, and should import nothing heavy.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import entry_points

GROUP = "excise.plugins"


@cache
def load_plugins() -> tuple[str, ...]:
    """Import every plugin, once a process; one that cannot be imported is named and left out.

    Returns:
        The names of those that were imported.
    """
    found = []
    for point in entry_points(group=GROUP):
        try:
            point.load()
        except Exception as error:
            logging.getLogger("excise").warning(
                "The plugin '%s' (%s) cannot be loaded: %s", point.name, point.value, error
            )
        else:
            found.append(point.name)
    return tuple(found)
