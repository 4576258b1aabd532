"""The real blocks called again, one by one, and what the model's own cache holds."""
