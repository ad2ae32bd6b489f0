"""Collected hands in layouts of other programs."""
