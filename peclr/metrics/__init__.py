"""Scores: torchmetrics for training, and the official FreiHAND evaluation."""
