"""Checkpoints of the Hugging Face hub, or of a directory in its format."""
