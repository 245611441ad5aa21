"""Ways to compute line integrals, behind the one interface of :mod:`.base`."""
