"""Implementations of line integrals, with the interface of :mod:`.base`."""
