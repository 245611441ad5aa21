"""Reconstruction of measurements by posterior sampling, baselines or supervised networks."""
