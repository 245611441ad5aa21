"""Checkpoints of other libraries as medscore priors: what fits is mapped, the rest is refused.

:mod:`medscore.priors.importers.read` opens files, one module a library says which network and which
weights they hold, :mod:`medscore.priors.importers.contract` joins that with what only the user
knows.
"""
