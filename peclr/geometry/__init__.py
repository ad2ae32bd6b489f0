"""Geometry of hands and views: pure, batched functions in float32 and float64, without I/O."""
