"""Self-supervised pre-training and fine-tuning for 3D hand pose: invariant to appearance, equivariant to geometry."""

__version__ = "0.2.0"
