"""Unconditional iterative samplers, the rule h of Song 2022, Eq. 8.5."""
