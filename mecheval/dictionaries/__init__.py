"""Dictionaries: sparse autoencoders of anyone's activations, and their codes."""

from mecheval.dictionaries.codes import SparseCodes
from mecheval.dictionaries.dictionary import Dictionary
from mecheval.dictionaries.quality import Quality
from mecheval.dictionaries.recipe import DictionaryRecipe
from mecheval.dictionaries.training import train_dictionary

__all__ = ["Dictionary", "DictionaryRecipe", "Quality", "SparseCodes", "train_dictionary"]
