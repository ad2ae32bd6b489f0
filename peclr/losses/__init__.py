"""Training objectives: contrastive pre-training (SimCLR, PeCLR, SiMHand) and 2.5-D pose."""
