"""How the product of a word's letters is put together: a verdict for tasks on groups."""
