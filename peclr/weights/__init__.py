"""Weights that others have published, by name: the list, the cache, and the one download there is, on request."""
