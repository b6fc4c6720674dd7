"""Project settings (https://docs.kedro.org/en/stable/configure/settings/)."""

import os
import warnings

os.environ.setdefault("DO_NOT_TRACK", "1")  # before any plugin asks
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns of torchvision, which nothing here needs
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")  # and this one of accelerate, likewise
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # it says twice that it makes its tables
os.environ.setdefault("TQDM_DELAY", "2")  # bars of what is done in two seconds are not worth a line

from excise.configuration import ConfigLoader
from excise.hooks import (
    AccountHook,
    AnnounceHook,
    GivenIdHook,
    MlflowHook,
    ProcessesHook,
    ProgressHook,
    ProjectHook,
    RecordHook,
    RegistryHook,
)
from excise.plugins import load_plugins

load_plugins()

warnings.filterwarnings("ignore", message="register_new_resolver")  # in Kedro's own code

HOOKS = (
    ProjectHook(),
    AccountHook(),
    GivenIdHook(),
    RecordHook(),
    MlflowHook(),
    ProcessesHook(),
    AnnounceHook(),
    ProgressHook(),
    RegistryHook(),
)

CONFIG_LOADER_CLASS = ConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {
        "concepts": ["concepts/*.yml", "concepts/**/*.yml", "concepts/*.yaml", "concepts/**/*.yaml"],
        "airflow": ["airflow*.yml", "airflow*.yaml"],
    },
    # an environment names only what differs
    "merge_strategy": {"parameters": "soft", "globals": "soft", "concepts": "soft", "airflow": "soft"},
}
