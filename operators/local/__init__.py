"""The one-machine platform: every service from a wheel, under one supervisor, on loopback; it speaks to Airflow by REST."""
