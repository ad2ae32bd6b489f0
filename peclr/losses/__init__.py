"""Training objectives: contrastive pre-training (SimCLR, PeCLR) and 2.5-D pose."""
