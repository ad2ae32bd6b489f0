"""Networks: image encoders, projection heads, and the 2.5-D pose network."""
