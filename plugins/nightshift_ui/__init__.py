"""The pages of Nightshift in Airflow's UI: they show what `operators` knows, and decide nothing."""
