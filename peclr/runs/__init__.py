"""Runs on disk: folder, checkpoints, interruption, resuming."""
