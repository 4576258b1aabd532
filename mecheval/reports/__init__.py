"""Reports: what they hold, how they are written, read, gathered, compared and drawn."""
