"""Releases: the servers that answer with them and the controllers that move them."""
