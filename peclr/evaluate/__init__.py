"""What a trained network is worth: probes, and scores."""
