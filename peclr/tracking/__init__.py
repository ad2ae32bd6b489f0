"""What a run shows while it goes on: trackers, images and online probes."""
