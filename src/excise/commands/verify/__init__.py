"""Makes a result again from what is stored, and compares."""

from .files import changed_files, check_files
from .finding import Finding
from .rows import verify_rows
from .run import verify_run
from .which import holds_rows, run_of

__all__ = ["Finding", "changed_files", "check_files", "holds_rows", "run_of", "verify_rows", "verify_run"]
