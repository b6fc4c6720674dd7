"""From a pipeline to a DAG of a scheduler: which nodes make a task, and the file that Airflow reads."""

from .options import DagOptions, read_options
from .plan import NodeInfo, Task, plan_tasks
from .write import dag_source

__all__ = ["DagOptions", "NodeInfo", "Task", "dag_source", "plan_tasks", "read_options"]
