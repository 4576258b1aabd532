"""Networks with weights set by hand, whose mechanism is known."""
