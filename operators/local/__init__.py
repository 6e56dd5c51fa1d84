"""The one-machine platform: services from wheels, one supervisor, loopback only; it speaks to Airflow by REST."""
