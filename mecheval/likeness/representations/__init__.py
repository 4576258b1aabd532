"""How alike activations of two networks are."""

from mecheval.likeness.representations.comparison import NAMES as NAMES
from mecheval.likeness.representations.comparison import WITHOUT_MEANS as WITHOUT_MEANS
from mecheval.likeness.representations.comparison import (
    compare_representations as compare_representations,
)
from mecheval.likeness.representations.comparison import scores_of_moments as scores_of_moments
from mecheval.likeness.representations.moments import Moments as Moments
from mecheval.likeness.representations.score import Score as Score
