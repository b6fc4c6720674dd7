"""``python -m excise``: the same as ``kedro run``."""

import sys
from typing import Any

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project


def main(*args: Any, **kwargs: Any) -> Any:
    """Run a pipeline of the installed package; options as of ``kedro run``."""
    configure_project("excise")
    kwargs.setdefault("standalone_mode", not hasattr(sys, "ps1"))
    return find_run_command("excise")(*args, **kwargs)


if __name__ == "__main__":
    main()
