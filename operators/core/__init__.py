"""The platform itself: imports no Airflow, so that it runs on a GPU node or a server that has none."""
