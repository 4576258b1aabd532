"""Layers that architectures of our own are made of."""
