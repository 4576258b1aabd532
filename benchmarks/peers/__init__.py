"""The grids of mecheval and of other libraries, each in the idioms that its documentation gives."""

PEERS = {
    "hooks": "benchmarks.peers.hooks",
    "pyvene": "benchmarks.peers.pyvene",
    "nnsight": "benchmarks.peers.nnsight",
    "transformer-lens": "benchmarks.peers.transformer_lens",
}
"""Modules whose ``idioms(job)`` returns what is timed, by name of the peer."""
