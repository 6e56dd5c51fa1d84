"""From validated landing files to an anonymised, deduplicated, split data set in deterministic Parquet."""
