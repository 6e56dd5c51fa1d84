"""Measured against named rivals, in one run, on one machine. `make bench`; see each module for what it compares."""
