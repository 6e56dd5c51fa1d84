"""Models: the architectures allowed, tokenising, pooling heads and loaded classifiers."""
