"""What a run shows while it goes on: trackers, pictures and online probes."""
