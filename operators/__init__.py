"""Measurement processes A = P(Lambda) T and their simulation."""
