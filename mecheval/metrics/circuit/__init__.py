"""Circuits: short convolutions, and paths between heads, states and answers."""
