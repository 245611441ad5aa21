"""Reconstructions without a score prior: what ours are compared to, behind the same interface."""
