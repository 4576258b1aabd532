"""Readability: linear probes, their data, floors and controls."""
