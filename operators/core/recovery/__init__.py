"""Recovery: what a release reaches goes to a store of its own and comes back from there into an empty place."""
