"""Exchanged activations: recovery, write offset, interchange by role, the mechanism."""
