"""Conditioners: turn an unconditional (prior, sampler) pair into one that heeds measurements."""
