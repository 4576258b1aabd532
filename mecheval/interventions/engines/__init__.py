"""The ways to run a grid: from the one that needs nothing of a model to the fastest."""
