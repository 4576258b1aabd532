"""How long states will be told apart: their spread over their distance, and its trend."""
