"""Scans, convolutions, linear attention and the delta rule: C, fused CUDA kernels or torch."""
