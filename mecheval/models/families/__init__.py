"""Tiny random checkpoints of every family of causal models that transformers knows."""
