"""Any causal torch module as a sequence model: its parts are found by what they compute."""
