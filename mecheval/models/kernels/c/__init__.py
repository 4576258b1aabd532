"""Kernels in C, compiled when they are first used."""
