"""The bottleneck: erasing a variable layer by layer, and reading what the answers lose."""
