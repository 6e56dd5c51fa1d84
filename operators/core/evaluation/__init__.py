"""Evaluation: what a model is worth on held-out rows, and whether it may go live."""
