"""Reconstruct measurements: posterior sampling, baselines, supervised networks, outputs."""
