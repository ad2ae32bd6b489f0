"""Images of hands and views, for reports, trackers and commands."""
