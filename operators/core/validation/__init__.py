"""Validation of data: an expectation suite per recipe, rows quarantined with a reason, reports without values."""
