"""The engine: trace activations, replace them, and read the answers that come out.

A *grid* asks, for every site of a model, what the answer becomes if the activation there is another
run's. A base run (the corrupted prompt) is run once as it is and once per cell, with one activation
put in its place: that of the donor (the clean prompt) at one layer, position and component. How
much of the clean answer comes back tells where the information lies that decides it. Plain hooks
take a whole forward pass per cell; pairs x layers x positions of them are hours. But almost all of
a patched run is the base run again. Of one whose site X is patched, only # is new::

    layer
      3  |  .  .  .  #  #  #  #  <- the answer is read at the last position
      2  |  .  .  .  #  #  #  #
      1  |  .  .  .  X  m  m  m
      0  |  .  .  .  .  .  .  .
         +----------------------
    position 0  1  2  3  4  5  6

*Below the patched layer* and *before the patched position* (.) nothing differs, because a causal
model computes them from what was not touched. Of earlier positions, later ones see only what the
mixer remembers of them (keys and values, or a recurrent state): that is the base run's, kept from
its one pass. *In the patched layer behind the patch* (m) the stream is the base run's too, and so
is all that a position signals by itself: only what the memory makes of it is new, and, behind a
short convolution, the signals in its reach. *In the last layer* only the readout's row is wanted,
and of the other positions no more than they write.
Further: where base and donor hold the same activation, or the site lies behind the readout, the
patched answer is the base run's; where one prompt differs from the other in one token, putting that
token's stream at the first layer in place makes the donor's run. All this leaves out work whose
result is known, and nothing is approximated: what differs from hooks is the rounding of sums.

Four engines do it, each in a file of :mod:`~mecheval.interventions.engines`, the last for memory
alone:

``tails``   what the picture shows, cells of all layers side by side in one pass: suffixes (tails)
            of runs, from the patch on, with the prefix from memory. Needs a model in parts (its
            decomposition).
``blocks``  from the patched layer on, whole blocks as they are, from the patched position on where
            the model's own cache serves for that.
``hooks``   one whole forward pass per cell. Works for every model; the others are held against it.
``steps``   exchanges the memory of one layer in runs that go token by token, by the model's cache.

Which one is taken (:mod:`~mecheval.interventions.engine_choice`): ``hooks`` for a grid that is too
small to repay a check; else the first that equals hooks on a few cells of the grid itself; and the
next one for what is left, where an engine fails on the way. ``grid.execution`` says which it was.
"""

from mecheval.interventions.activations import Edit as Edit
from mecheval.interventions.activations import answer_logits as answer_logits
from mecheval.interventions.activations import trace as trace
from mecheval.interventions.agreement import SplitHalf as SplitHalf
from mecheval.interventions.agreement import split_half as split_half
from mecheval.interventions.attribution import gradient_guess as gradient_guess
from mecheval.interventions.donors import Added as Added
from mecheval.interventions.donors import Donor as Donor
from mecheval.interventions.donors import Interchange as Interchange
from mecheval.interventions.donors import Mean as Mean
from mecheval.interventions.donors import Subspace as Subspace
from mecheval.interventions.donors import Zero as Zero
from mecheval.interventions.engine import engine_of as engine_of
from mecheval.interventions.engine_choice import Execution as Execution
from mecheval.interventions.grid import ablation_grid as ablation_grid
from mecheval.interventions.grid import recovery_grid as recovery_grid
from mecheval.interventions.naturalness import Naturalness as Naturalness
from mecheval.interventions.naturalness import naturalness as naturalness
from mecheval.interventions.results import AblationGrid as AblationGrid
from mecheval.interventions.results import GuessedGrid as GuessedGrid
from mecheval.interventions.results import RecoveryGrid as RecoveryGrid
