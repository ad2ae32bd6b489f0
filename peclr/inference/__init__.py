"""The one way from an image to a hand."""
