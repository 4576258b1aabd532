"""Our own models: a residual stack in which the sequence mixer is the argument."""
