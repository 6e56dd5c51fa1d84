"""Airflow's scheduler with the libraries of the stages in memory: `python -m operators.local.scheduler`.

Airflow forks its workers from the scheduler and every task from a worker, so what is imported here no task imports
again, and all of them share its pages. On two busy cores a task spent 15 to 20 s on imports before its first row.
Of `operators` nothing is imported: a change to the platform's own code takes effect with the next task.
"""

from __future__ import annotations

import importlib
import sys

LIBRARIES = (
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "great_expectations",
    "matplotlib.backends.backend_agg",
    "onnxscript",
    "presidio_analyzer.predefined_recognizers",
    "pyarrow.parquet",
    "s3fs",
    "safetensors.torch",
    "sklearn.linear_model",
    "torch.onnx",
    "transformers.models.bert.modeling_bert",
)
"""A fork of them is as good as new: none opens a connection or touches a GPU when it is imported, and the threads that
the allocators of Arrow and OpenBLAS start are renewed in a child by themselves. ONNX Runtime's is not: it stays out."""


def main() -> None:
    """Import, then be `airflow scheduler` with the arguments of this command."""
    for library in LIBRARIES:
        importlib.import_module(library)
    from airflow.__main__ import main as airflow

    sys.argv = ["airflow", "scheduler", *sys.argv[1:]]
    airflow()


if __name__ == "__main__":
    main()
