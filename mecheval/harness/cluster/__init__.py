"""Cells as jobs of a cluster: packed, submitted, followed through the store; and their states."""
