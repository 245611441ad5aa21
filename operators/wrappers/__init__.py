"""Operators built from operators: padded, restricted, stacked, whitened."""
