"""Kedro hooks: the project's own inputs and checks, the account of a run, its records, and MLflow."""

from .account import AccountHook
from .announce import AnnounceHook
from .given_id import GivenIdHook
from .mlflow_hook import MlflowHook
from .processes_hook import ProcessesHook
from .progress import ProgressHook
from .project import ProjectHook
from .record import RecordHook
from .registry_hook import RegistryHook

__all__ = [
    "AccountHook",
    "AnnounceHook",
    "GivenIdHook",
    "MlflowHook",
    "ProcessesHook",
    "ProgressHook",
    "ProjectHook",
    "RecordHook",
    "RegistryHook",
]
