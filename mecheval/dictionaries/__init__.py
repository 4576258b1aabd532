"""Dictionaries: sparse autoencoders of anyone's activations, and their codes."""

from mecheval.dictionaries.codes import SparseCodes

__all__ = ["SparseCodes"]
