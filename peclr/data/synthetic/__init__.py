"""Embedded hands: procedurally drawn right hands in FreiHAND's layout, with NumPy and OpenCV alone."""

from peclr.data.synthetic.writer import SynthSummary, is_complete, write_freihand_layout

__all__ = ["SynthSummary", "is_complete", "write_freihand_layout"]
