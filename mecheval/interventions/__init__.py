"""The engine: trace activations, replace them, and read the answers that come out."""

from mecheval.interventions.edits import Edit as Edit
from mecheval.interventions.edits import answer_logits as answer_logits
from mecheval.interventions.edits import trace as trace
from mecheval.interventions.grid import RecoveryGrid as RecoveryGrid
from mecheval.interventions.grid import recovery_grid as recovery_grid
