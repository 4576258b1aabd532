"""How alike two models are, as functions of arrays: no model, task or report is known here."""
