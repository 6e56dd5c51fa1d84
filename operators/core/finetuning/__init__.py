"""Fine-tuning: a base model and a data set become a classifier."""
