"""Erasure: what holds a person's rows, down the lineage, and how the platform comes to hold them no more."""
