"""Baselines: reconstruction methods without a score prior, with the same interface."""
