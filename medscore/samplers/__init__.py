"""Unconditional iterative samplers: the rule h of Eq. 8.5. They know nothing of measurements."""
