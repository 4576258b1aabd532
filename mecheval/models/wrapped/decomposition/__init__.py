"""A wrapped model in parts that run one by one, held against the whole."""
