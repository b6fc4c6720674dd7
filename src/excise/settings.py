"""Project settings (https://docs.kedro.org/en/stable/configure/settings/)."""

import os
import warnings

os.environ.setdefault("DO_NOT_TRACK", "1")  # before any plugin asks
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns of torchvision, which nothing here needs
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")  # and this one of accelerate, likewise

from excise.hooks import AccountHook, AnnounceHook, GivenIdHook, MlflowHook, ProjectHook, RecordHook, RegistryHook
from excise.plugins import load_plugins

load_plugins()

warnings.filterwarnings("ignore", message="register_new_resolver")  # in Kedro's own code

HOOKS = (
    ProjectHook(),
    AccountHook(),
    GivenIdHook(),
    RecordHook(),
    MlflowHook(),
    AnnounceHook(),
    RegistryHook(),
)

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"concepts": ["concepts/*.yml", "concepts/**/*.yml"]},
    # an environment names only what differs
    "merge_strategy": {"parameters": "soft", "globals": "soft", "concepts": "soft"},
}
