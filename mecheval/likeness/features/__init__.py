"""How alike the features of two dictionaries are, that were read from the same tokens."""

from mecheval.likeness.features.comparison import compare_features as compare_features
from mecheval.likeness.features.explained import share_explained as share_explained
from mecheval.likeness.features.match import Features as Features
from mecheval.likeness.features.match import Match as Match
from mecheval.likeness.features.match import place_between as place_between
