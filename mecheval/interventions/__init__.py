"""The engine: trace activations, replace them, and read the answers that come out."""

from mecheval.interventions.activations import Edit as Edit
from mecheval.interventions.activations import answer_logits as answer_logits
from mecheval.interventions.activations import trace as trace
from mecheval.interventions.agreement import SplitHalf as SplitHalf
from mecheval.interventions.agreement import split_half as split_half
from mecheval.interventions.attribution import GuessedGrid as GuessedGrid
from mecheval.interventions.attribution import gradient_guess as gradient_guess
from mecheval.interventions.donors import Added as Added
from mecheval.interventions.donors import Donor as Donor
from mecheval.interventions.donors import Interchange as Interchange
from mecheval.interventions.donors import Mean as Mean
from mecheval.interventions.donors import Subspace as Subspace
from mecheval.interventions.donors import Zero as Zero
from mecheval.interventions.engine import Execution as Execution
from mecheval.interventions.grid import AblationGrid as AblationGrid
from mecheval.interventions.grid import RecoveryGrid as RecoveryGrid
from mecheval.interventions.grid import ablation_grid as ablation_grid
from mecheval.interventions.grid import recovery_grid as recovery_grid
from mecheval.interventions.naturalness import Naturalness as Naturalness
from mecheval.interventions.naturalness import naturalness as naturalness
