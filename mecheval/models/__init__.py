"""What the harness and the engine need of a model; our own stack, and wrappers of others."""
