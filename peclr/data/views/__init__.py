"""Makes one view of a hand: geometry, photometry, backgrounds."""
