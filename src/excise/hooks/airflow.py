"""Which Airflow task a run is: what Airflow says in the environment of its tasks."""

from __future__ import annotations

import os

TAGS = {"AIRFLOW_CTX_DAG_ID": "airflow.dag_id", "AIRFLOW_CTX_DAG_RUN_ID": "airflow.dag_run_id"}


def airflow_tags() -> dict[str, str]:
    """Tags for the MLflow run; none outside of Airflow."""
    return {tag: os.environ[name] for name, tag in TAGS.items() if os.environ.get(name)}
