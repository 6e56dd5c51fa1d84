"""Hyper-parameter search: trials that are trainings, each found again by its run key."""
