"""Sweeps: files for `wandb sweep`, run here without an account."""
