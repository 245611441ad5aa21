"""Reconstruct a measurement: posterior sampling, baselines and supervised networks, and their outputs."""
