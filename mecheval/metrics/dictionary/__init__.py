"""How good dictionaries of what a network holds are: what they explain, and what they cost."""
