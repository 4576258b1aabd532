"""Exchange: what a sequence has at a layer is given by others, of any state or of the same."""
