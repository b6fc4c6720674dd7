"""Kedro hooks: the project's own inputs and checks, the account of a run, and MLflow."""

from .account import AccountHook
from .announce import AnnounceHook
from .mlflow_hook import MlflowHook
from .project import ProjectHook
from .registry_hook import RegistryHook

__all__ = ["AccountHook", "AnnounceHook", "MlflowHook", "ProjectHook", "RegistryHook"]
