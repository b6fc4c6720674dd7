"""What a result was made of, and whether that still holds. Knows neither Kedro nor MLflow."""

from .compare import Change, compare
from .contents import content_of, file_sha256
from .environment import describe_environment
from .made_of import MadeOf, made_of
from .records import File, NodeRecord, RunRecord, forget_nodes, latest_records, read_run, recorded_nodes, write_record

__all__ = [
    "Change",
    "File",
    "MadeOf",
    "NodeRecord",
    "RunRecord",
    "compare",
    "content_of",
    "describe_environment",
    "file_sha256",
    "forget_nodes",
    "latest_records",
    "made_of",
    "read_run",
    "recorded_nodes",
    "write_record",
]
