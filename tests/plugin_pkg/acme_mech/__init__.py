"""A task and a model for mecheval."""
