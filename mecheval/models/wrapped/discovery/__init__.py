"""Which modules are blocks, mixers, heads and feed-forward parts, by what they compute."""
