"""Operators made from other operators: padded, restricted, stacked, whitened."""
