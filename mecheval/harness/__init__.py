"""Plan cells, run them once, and keep what came out; whole grids, pairs, suites."""
