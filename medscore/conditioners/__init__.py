"""Conditioners, which make an unconditional prior and sampler consistent with measurements."""
