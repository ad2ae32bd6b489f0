"""Scores: torchmetrics for training, and the official ones of each data set."""
