"""Scans and convolutions: C on the CPU, fused kernels on CUDA if installed, else plain torch."""
